#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A kernel that was booted with the parameters of `vmemscope boot`, a driver loaded before the root
# was there; then the same load once more under `vmemscope record`, whose truth is the kernel's own.
. /lab/lib.sh
own_kernel=/lab/ko/vmlinuz
[ -e $own_kernel ] && own_file

state() { # NAME: what the kernel has of the probes and of what they caught
	cat $T/trace >"/out/$1.trace"
	cat $T/kprobe_events >"/out/$1.kprobe_events"
	cat $T/kprobe_profile >"/out/$1.kprobe_profile"
	cat $T/per_cpu/cpu*/stats | grep -v ' ts:' >"/out/$1.stats"
}

collect() { # NAME OPTIONS…
	name=$1
	shift
	status=0
	vmemscope boot --collect -o "/out/$name.arrows" "$@" >"/out/$name.text" 2>&1 || status=$?
	echo $status >"/out/$name.rc"
}

[ -e /lab/ko/devpriv.ko ] || memory 1073741824 # which it has: wait until it is there
cat /proc/cmdline >/out/cmdline
cat /sys/kernel/warn_count >/out/boot.warn_count
dmesg >/out/dmesg
state before
collect boot
collect again
state after
vmemscope boot --live >/out/live.text 2>/out/live.narration
echo $? >/out/live.rc
if [ -e /lab/ko/devpriv.ko ]; then
	record recorded --engine tracefs -- sh -c "$(device "$(cat /lab/ko/start)" "$(cat /lab/ko/size)")"
	vmemscope doctor >/out/doctor.text 2>&1
	echo $? >/out/doctor.rc
fi
if [ ! -e /lab/ko/devpriv.ko ]; then # what virtio-mem had from the start is taken back
	memory 0
	state freed
	collect freed
fi
cat $T/kprobe_events >/out/kept.kprobe_events
if [ -e /lab/ko/undo ]; then # what --undo prints is for the shell
	vmemscope boot --undo | sh >/out/undo.text 2>&1
else
	collect removed --remove
fi
left end
if [ -e /lab/ko/bootconfig ]; then # the lines that a boot configuration makes of its keys
	while read -r line; do
		echo "$line" >>$T/kprobe_events || echo "$line" >>/out/refused
	done </lab/ko/bootconfig
	echo 1 >$T/events/kprobes/enable
	sh -c "$(device "$(cat /lab/ko/start)" "$(cat /lab/ko/size)")"
	cat $T/trace >/out/keys.trace
	collect keys --remove
	left keys
fi
