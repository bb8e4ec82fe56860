#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1: shapes of load, and ways to end.
. /lab/lib.sh
scene doctor vmemscope doctor --json
record sections-23 -- sh -c "$(device 0x5000000000 2944)"
record both --engine tracefs -- sh -c "($(device 0x5000000000 8192)) & \
	insmod /lab/ko/devprib.ko start=0x6000000000 size_mb=8192 && rmmod devprib; wait"
record in-range --engine tracefs -- sh -c "$(device 0x2000000000 2048)"
record hits-only --engine tracefs --hits-only -- sh -c "$(device 0x2000000000 256); $(device 0x5000000000 256)"
for signal in KILL TERM INT HUP; do # $PPID of the command is vmemscope
	record "end-$signal" --engine tracefs -- \
		sh -c "$(device 0x5000000000 256); sleep 1; kill -$signal \$PPID; sleep 1"
done
sleep 2
left end-KILL # again: what is left is removed soon after, not at once
record after-KILL --engine tracefs -- true
mkdir /tmp/small
mount -t tmpfs -o size=24k tmpfs /tmp/small
scene disk-full vmemscope record --no-audit --engine tracefs -o /tmp/small/x.arrows -- sh -c "$(device 0x5000000000 16384)"
cp /tmp/small/x.arrows /out/disk-full.arrows
