#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A distribution's newest kernel under lockdown=confidentiality: which engines see memory plugged.
. /lab/lib.sh
mount -t securityfs none /sys/kernel/security 2>/dev/null
cat /sys/kernel/security/lockdown >/out/lockdown
own_file
echo online_movable >/sys/devices/system/memory/auto_online_blocks
plug='. /lab/lib.sh; memory 1073741824; memory 0'
image="/boot/vmlinuz-$(uname -r)"
record_here() { # NAME OPTIONS… -- COMMAND…: there is no tracefs for `record`'s truth
	name=$1
	shift
	status=0
	vmemscope record --vmlinux "$image" -o "/out/$name.arrows" "$@" >"/out/$name.text" 2>&1 || status=$?
	echo $status >"/out/$name.rc"
}
record_here auto -- sh -c "$plug"
record_here tracefs --engine tracefs -- true
# a distribution that has no BCC
mkdir /tmp/none
mount --bind /tmp/none /usr/lib/python3/dist-packages/bcc
record_here nobcc -- sh -c "$plug"
vmemscope doctor --json --vmlinux "$image" >/out/doctor.text 2>/out/doctor.err
# what the kernel allows of perf's own samples: their registers are the arguments
python3 - <<'P' >/out/perf
from tracers.live.tracefs import breakpoints

rows = (line.split() for line in open("/proc/kallsyms"))
at = next(int(row[0], 16) for row in rows if row[2] == "vmemmap_populate")
for name, sample in (("time", breakpoints._TIME), ("registers", breakpoints._SAMPLED)):
    try:
        breakpoints._open(at, 0, breakpoints._MACHINES["aarch64"], sample)
        print(name, "ok")
    except OSError as error:
        print(name, error.strerror)
P
