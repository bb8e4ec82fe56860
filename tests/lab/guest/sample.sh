#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1 and 6.1-once: the storm as the bundled recording has it, and the kernel's log of it.
# The times are to be the WARNs' and our probes', nobody else's: no truth runs beside it, a storm
# before it has the emulator translate the code, and the recorder has a CPU of its own.
. /lab/lib.sh
storm=$(device 0x5000000000 16384)
sh -c "$storm"
echo 1 >/sys/kernel/debug/clear_warn_once
dmesg --clear
before=$(cat /sys/kernel/warn_count)
status=0
taskset -c 1 vmemscope record -o /out/storm.arrows -- taskset -c 0 sh -c "$storm" \
	>/out/storm.text 2>&1 </dev/null || status=$?
dmesg >/out/storm.dmesg
echo "$before $(cat /sys/kernel/warn_count)" >/out/storm.warns
echo $status >/out/storm.rc
left storm
