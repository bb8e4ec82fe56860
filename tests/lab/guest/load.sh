#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1: vmemmap_free called in a loop from two threads, at a rate that is to be had and flat out.
. /lab/lib.sh
echo 1 >/proc/sys/kernel/printk
address=0x$(grep ' vmemmap_free$' /proc/kallsyms | cut -d' ' -f1)
load() { # NAME ENGINE RATE SECONDS OPTIONS…: no truth beside it, the module counts its calls
	name=$1 engine=$2 rate=$3 seconds=$4
	shift 4
	echo "LAB: $name" >/dev/console
	vmemscope record --engine "$engine" "$@" -o "/out/$name.arrows" -- sh -c "
		insmod /lab/ko/vmemgen.ko address=$address threads=2 rate=$rate seconds=$seconds \
			start=0xfffffffe80000000 end=0xfffffffe80200000
		cd /sys/module/vmemgen/parameters && cat calls elapsed_us >/out/$name.calls
		rmmod vmemgen" >"/out/$name.text" 2>&1
	echo $? >"/out/$name.rc"
}
for engine in tracefs bcc; do
	load steady-$engine $engine "${RATE:-5000}" "${DURATION:-5}"
	load overload-$engine $engine 0 2
	load filtered-$engine $engine 0 2 --hits-only
done
