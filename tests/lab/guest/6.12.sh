#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.12: entry kprobes everywhere; the kernel's own HMM test driver.
. /lab/lib.sh
scene doctor vmemscope doctor --json
for engine in tracefs bcc; do
	record "in-range-$engine" --engine $engine -- sh -c "$(device 0x2000000000 2048)"
done
for rung in callsite breakpoint derived; do
	record "in-range-tracefs-$rung" --engine tracefs --rung $rung -- sh -c "$(device 0x2000000000 2048)"
done
record hmm --engine tracefs -- sh -c 'insmod /lab/ko/test_hmm.ko && rmmod test_hmm'
