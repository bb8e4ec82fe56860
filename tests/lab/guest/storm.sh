#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1 and 6.1-once: 128 sections outside the window, seen by each engine and from each rung on; then
# by the kernel log, afterwards.
. /lab/lib.sh
for engine in tracefs bcc; do
	for rung in kprobe breakpoint derived; do
		record "storm-$engine-$rung" --engine $engine --rung $rung -- sh -c "$(device 0x5000000000 16384)"
	done
done
record past --engine kmsg --duration 1
cat /sys/kernel/warn_count >/out/warn_count
