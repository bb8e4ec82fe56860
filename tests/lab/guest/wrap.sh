#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1 with oops=panic: the kernel places the device itself, wraps, and does not survive it.
# Recorded into a file, and, where there is a virtio-serial port, into that.
. /lab/lib.sh
echo 8 >/proc/sys/kernel/printk # every splat on the console, as machines have it
echo 15 >/proc/sys/kernel/printk_delay # ms a line: a slow serial console; QEMU takes none
truth_on wrap
cat $T/instances/truth/trace_pipe >/out/wrap.truth &
# A WARN masks interrupts on its CPU for as long as its splat takes to print: a write to /out whose
# interrupt is for that CPU takes a WARN's time, and the last ones do not return before the panic.
for irq in /proc/irq/*/smp_affinity; do
	echo 2 >"$irq" || true # those of a CPU's own cannot be moved
done 2>/dev/null
command='sleep 1; taskset -c 0 insmod /lab/ko/devpriv.ko start=0 size_mb=1024'
for port in /dev/vport*; do
	[ -e "$port" ] || break
	exec vmemscope record --engine tracefs -o - -- sh -c "$command" >"$port" 2>/out/wrap.text
done
exec vmemscope record --engine tracefs -o /out/wrap.arrows -- sh -c "$command" 2>/out/wrap.text
