#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1 with oops=panic, read by engine kmsg alone: a device before it, then one that wraps.
. /lab/lib.sh
echo 8 >/proc/sys/kernel/printk # every splat on the console, as machines have it
sh -c "$(device 0x5000000000 256)"
echo 15 >/proc/sys/kernel/printk_delay # ms a line: a slow serial console; QEMU takes none
for irq in /proc/irq/*/smp_affinity; do # see wrap.sh
	echo 2 >"$irq" || true
done 2>/dev/null
exec vmemscope record --engine kmsg -o /out/wrap.arrows -- \
	sh -c 'sleep 1; taskset -c 0 insmod /lab/ko/devpriv.ko start=0 size_mb=1024' 2>/out/wrap.text
