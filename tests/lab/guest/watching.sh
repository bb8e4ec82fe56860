#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What watching costs is known, and the kernel counts the time of programs only while we watch.
. /lab/lib.sh
counted() { # NAME: whether the kernel counts, by a program of somebody else's that runs meanwhile
	bpftrace -e 'kprobe:__arm64_sys_getppid { @[1] = count(); }' >/dev/null 2>&1 &
	i=0
	until bpftool prog show | grep -q kprobe || [ $i -ge 120 ]; do
		i=$((i + 1))
		sleep 0.25
	done
	sleep 1
	python3 -c 'import os; [os.getppid() for _ in range(1000)]'
	bpftool -j prog show >"/out/$1.programs"
	kill $!
	wait $! || true
}
device="$(device 0x2000000000 2048)"
case $(uname -r) in 6.1.*) device="$(device 0x5000000000 2048)" ;; esac
for engine in bcc tracefs; do
	record watching-$engine --engine $engine -- sh -c "$device"
done
record light --engine bcc --light -- sh -c "$device"
record timing --engine bcc --timing -- sh -c "$device"
case $(uname -r) in 6.1.*) ;; *) record kprobe --engine bcc --rung kprobe -- sh -c "$device" ;; esac
counted before
vmemscope record --no-audit --engine bcc -o /tmp/killed.arrows >/out/killed.text 2>&1 &
recorder=$!
i=0
until grep -q 'probes on' /out/killed.text || [ $i -ge 240 ]; do
	i=$((i + 1))
	sleep 0.25
done
counted meanwhile
kill -9 $recorder
wait $recorder || true
counted after
cat /proc/sys/kernel/bpf_stats_enabled >/out/stats_enabled
left killed
