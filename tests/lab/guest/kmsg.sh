#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1: what the kernel log alone tells: what was before, a storm beside engine tracefs, no rights.
. /lab/lib.sh
# what a program writes there is of facility 1, whatever number it gives
forged='WARNING: CPU: 0 PID: 1 at arch/arm64/mm/mmu.c:1222 vmemmap_populate+0x40/0x1c4'
for priority in 4 12; do echo "<$priority>$forged" >/dev/kmsg; done
sh -c "$(device 0x5000000000 2048)"
cat /sys/kernel/warn_count >/out/before.warns
record past --engine kmsg --duration 2
# two readers, and a third that attaches probes
for name in one two; do
	vmemscope record --engine kmsg -o /out/$name.arrows >/out/$name.text 2>&1 &
	eval "$name=$!"
done
for name in one two; do
	until grep -q 'reading the kernel log' /out/$name.text; do sleep 0.2; done
done
record storm --engine tracefs -- sh -c "$(device 0x5000000000 16384)"
sleep 1
# shellcheck disable=SC2154
kill -TERM "$one" "$two"
wait "$one"
echo $? >/out/one.rc
wait "$two"
dmesg >/out/dmesg
nobody() { # NAME COMMAND…
	name=$1
	shift
	status=0
	setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/tmp "$@" >"/out/$name.text" 2>&1 || status=$?
	echo $status >"/out/$name.rc"
}
echo 1 >/proc/sys/kernel/dmesg_restrict
nobody restricted vmemscope record --engine kmsg -o /tmp/restricted.arrows --duration 1
echo 0 >/proc/sys/kernel/dmesg_restrict
nobody auto vmemscope record -o /tmp/auto.arrows --duration 1
cp /tmp/auto.arrows /out
