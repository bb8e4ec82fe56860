#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What a section costs to add and to remove, with nothing probed, with us on each rung, and with
# bpftrace on the same points: the same device, in one boot. The measure is always there: a probe on
# entry and return of __add_pages and __remove_pages. ROUNDS devices of 128 sections each.
. /lab/lib.sh
start=0x2000000000 # inside the window: no WARN, which would cost a hundred times more
measure() { # NAME: with whatever runs now
	mkdir $T/instances/truth
	{
		echo 'p:truth/add_pages __add_pages'
		echo 'r:truth/add_pages_ret __add_pages'
		echo 'p:truth/remove_pages __remove_pages'
		echo 'r:truth/remove_pages_ret __remove_pages'
	} >>$T/kprobe_events
	echo mono >$T/instances/truth/trace_clock
	echo 1 >$T/instances/truth/events/truth/enable
	for _ in $(seq "${ROUNDS:-5}"); do
		insmod /lab/ko/devpriv.ko start=$start size_mb=16384 && rmmod devpriv
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
	under "$name" 'probes on' vmemscope record -o "/tmp/$name.arrows" "$@"
	rm -f "/tmp/$name.arrows"
}
peer() { # NAME ACTION RETURN_ACTION: bpftrace on every point that this kernel lets it have
	program=""
	for function in memremap_pages __add_pages __remove_pages sparse_add_section vmemmap_populate vmemmap_free memunmap_pages __warn; do
		grep -qx $function $T/available_filter_functions &&
			program="$program $(printf "%s\n" "kprobe:$function { $2 } kretprobe:$function { $3 }" | sed "s/NAME/\"$function\"/g")"
	done
	under "$1" 'Attaching' bpftrace -e "$program"
}
measure none
for engine in bcc tracefs; do
	for rung in kprobe breakpoint derived; do
		ours "$engine-$rung" --engine $engine --rung $rung
	done
	ours "$engine-filtered" --engine $engine --hits-only
done
peer bpftrace-printf 'printf("%s %d %d %s %x %x\n", NAME, nsecs, tid, comm, arg0, arg1)' 'printf("%s %d %d %s %x\n", NAME, nsecs, tid, comm, retval)'
peer bpftrace-hist '@begun[tid, NAME] = nsecs' '@took[NAME] = hist(nsecs - @begun[tid, NAME])'
measure none # again: did the machine drift?
