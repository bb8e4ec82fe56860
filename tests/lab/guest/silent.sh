#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 7.3-64k, on a CPU with 52-bit addresses or one with 48: a device at physical 0, below the RAM, and
# one where the kernel puts it. The scripts of both boots are the same; what they find is not.
. /lab/lib.sh
below="$(device 1 128)"
anybody="setpriv --reuid 65534 --regid 65534 --clear-groups"
scene window vmemscope window --live --json
scene window-anybody $anybody vmemscope window --live --json
for engine in tracefs bcc; do
	record below-$engine --engine $engine -- sh -c "$below"
	record placed-$engine --engine $engine -- sh -c "$(device 0 2048)"
done
record hits-only --engine bcc --hits-only -- sh -c "$below; $(device 0 2048)"
record hits-only-tracefs --engine tracefs --hits-only -- sh -c "$below; $(device 0 2048)"
insmod /lab/ko/devpriv.ko start=1 size_mb=128
cat /sys/kernel/debug/kernel_page_tables >/out/mapped.page_tables
rmmod devpriv
scene doctor vmemscope doctor --json
live "$below" "2 of 2 calls"
