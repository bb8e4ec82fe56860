#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A distribution's kernel whose functions somebody else probes and traces: what `window --live` reads.
. /lab/lib.sh
window() { # NAME
	status=0
	vmemscope window --live --json >"/out/$1.text" 2>"/out/$1.err" || status=$?
	echo $status >"/out/$1.rc"
}
probed() { # NAME [PROBE]
	name=$1
	[ $# -eq 1 ] || echo "$2" >>$T/kprobe_events
	echo 1 >$T/events/other/enable
	cat /sys/kernel/debug/kprobes/list >"/out/$name.list"
	window "$name"
	echo 0 >$T/events/other/enable
	echo >$T/kprobe_events
}
window clean
probed no-file "p:other/free vmemmap_free+8"
own_file
probed entry "p:other/free vmemmap_free"
probed return "r:other/free vmemmap_free"
for offset in 4 8 12 16 20 24 28 32 36 40 44 48; do # not every place takes one
	for function in vmemmap_free vmemmap_populate; do
		echo "p:other/$function$offset $function+$offset" >>$T/kprobe_events || true
	done
done 2>/dev/null
probed inside
if echo vmemmap_free >$T/set_ftrace_filter; then
	echo function >$T/current_tracer
	window traced
	echo nop >$T/current_tracer
fi
# each call of it, as of another recorder whose rung is the call site
place=$(grep -m 1 -o ' section_deactivate[^ ]*$' /proc/kallsyms | tr -d ' ')
offset=0
while [ $offset -lt 800 ]; do
	echo "p:other/site$offset $place+$offset" >>$T/kprobe_events
	offset=$((offset + 4))
done 2>/dev/null
echo 1 >$T/events/other/enable
scene doctor vmemscope doctor --json
echo 0 >$T/events/other/enable
