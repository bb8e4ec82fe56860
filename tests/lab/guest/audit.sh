#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What is mapped, asked without a probe: no device, one inside, two outside, one freed, one stays.
# Beside each audit: the kernel's own lists of the same moment.
. /lab/lib.sh

audit() { # NAME OPTIONS…
	name=$1
	shift
	echo "LAB: $name" >/dev/console
	status=0
	timeout -s KILL 90 vmemscope audit --live --json "$@" >"/out/$name.json" 2>"/out/$name.err" || status=$?
	echo $status >"/out/$name.rc"
	cat /sys/kernel/debug/kernel_page_tables >"/out/$name.page_tables"
	cat /proc/iomem >"/out/$name.iomem"
	dmesg >"/out/$name.dmesg"
}

# 6.1: the window has struct pages for physical 0x40000000 to 0x4040000000
inside=0x2000000000 outside=0x5000000000
case $(uname -r) in 6.12*) outside= ;; esac # KASLR: what is outside is another one every boot
head -c 65536 /proc/kcore >/out/kcore.head
audit none
insmod /lab/ko/devpriv.ko start=$inside size_mb=1024 || true
audit inside
rmmod devpriv
[ -z "$outside" ] || {
	insmod /lab/ko/devpriv.ko start=$outside size_mb=4096
	insmod /lab/ko/devprib.ko start=1 size_mb=128 # physical 0, below the RAM
	audit outside
	vmemscope audit >/out/outside.text 2>&1
	umount /sys/kernel/debug
	audit kcore-only
	mount -t debugfs debugfs /sys/kernel/debug
	vmemscope record --engine tracefs -o /out/carried.arrows -- rmmod devpriv >/out/carried.text 2>&1 || true
	audit freed
	rmmod devprib
}
audit gone
