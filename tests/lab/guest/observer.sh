#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What watching costs: the same device added and removed in one boot with nothing probed, with the
# four probes of the kernel's ftrace that measure WARN's share, with us by each engine and rung, and
# with bpftrace on the same points. The measure is always there: a probe on entry and return of
# __add_pages and __remove_pages. 6.1: 128 sections outside, a storm. Later ones: 128 inside, and
# by name "…-below" one section below the RAM (nokaslr), again and again, for WARN's share.
. /lab/lib.sh
rounds=6 device="start=0x5000000000 size_mb=16384"
case $(uname -r) in 6.1.*) ;; *) device="start=0x2000000000 size_mb=16384" ;; esac
points='p:truth/add_pages __add_pages
r:truth/add_pages_ret __add_pages
p:truth/remove_pages __remove_pages
r:truth/remove_pages_ret __remove_pages'
measure() { # NAME: with whatever runs now
	mkdir $T/instances/truth
	echo "$points" >>$T/kprobe_events
	echo mono >$T/instances/truth/trace_clock
	echo 16384 >$T/instances/truth/buffer_size_kb
	echo 1 >$T/instances/truth/events/truth/enable
	for _ in $(seq $rounds); do
		# shellcheck disable=SC2086
		insmod /lab/ko/devpriv.ko $device && rmmod devpriv
	done
	echo 0 >$T/instances/truth/events/truth/enable
	cat $T/instances/truth/trace >>"/out/$1.truth"
	rmdir $T/instances/truth
	grep -o 'truth/[a-z_]*' $T/kprobe_events | sed 's/^/-:/' >>$T/kprobe_events
}
under() { # NAME TEXT COMMAND…: measure once COMMAND has said TEXT
	name=$1 text=$2
	shift 2
	echo "LAB: $name" >/dev/console
	"$@" >"/out/$name.out" 2>&1 &
	i=0
	until grep -q "$text" "/out/$name.out" || [ $i -ge 90 ]; do
		i=$((i + 1))
		sleep 1
	done
	sleep 1
	measure "$name"
	kill -TERM $! # SIGINT is ignored in the background
	wait $! || true
}
ours() { # NAME OPTIONS…
	name=$1
	shift
	under "$name" 'probes on' vmemscope record --no-audit -o "/out/$name.arrows" "$@"
}
peer() { # NAME ACTION RETURN_ACTION: bpftrace on every point that this kernel lets it have
	program=""
	for function in memremap_pages __add_pages __remove_pages sparse_add_section vmemmap_populate vmemmap_free memunmap_pages __warn; do
		grep -qx $function $T/available_filter_functions &&
			program="$program $(printf "%s\n" "kprobe:$function { $2 } kretprobe:$function { $3 }" | sed "s/NAME/\"$function\"/g")"
	done
	under "$1" 'Attaching' bpftrace -e "$program"
}
warned() { # NAME: with the probes that measure WARN's share, and nothing else
	before=$points
	points="$points
p:truth/warn __warn
r:truth/warn_ret __warn"
	measure "$1"
	points=$before
}
measure none
warned ftrace
ours bcc --engine bcc
ours bcc-kprobe --engine bcc --rung kprobe
ours bcc-breakpoint --engine bcc --rung breakpoint
ours bcc-derived --engine bcc --rung derived
ours bcc-light --engine bcc --light
ours bcc-timing --engine bcc --timing
ours tracefs --engine tracefs
ours tracefs-breakpoint --engine tracefs --rung breakpoint
ours tracefs-derived --engine tracefs --rung derived
ours tracefs-light --engine tracefs --light
peer bpftrace-printf 'printf("%s %d %d %s %x %x\n", NAME, nsecs, tid, comm, arg0, arg1)' 'printf("%s %d %d %s %x\n", NAME, nsecs, tid, comm, retval)'
peer bpftrace-hist '@begun[tid, NAME] = nsecs' '@took[NAME] = hist(nsecs - @begun[tid, NAME])'
measure none-again # did the machine drift?
case $(uname -r) in 6.1.*) exit 0 ;; esac
rounds=24 device="start=1 size_mb=128"
warned ftrace-below
ours bcc-below --engine bcc
ours tracefs-below --engine tracefs
