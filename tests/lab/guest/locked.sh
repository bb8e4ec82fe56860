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
for engine in auto bcc kmsg tracefs; do
	status=0
	vmemscope record --engine $engine --vmlinux "$image" -o /out/$engine.arrows -- sh -c "$plug" \
		>/out/$engine.text 2>&1 || status=$?
	echo $status >/out/$engine.rc
done
# a distribution that has no BCC
mkdir /tmp/none
mount --bind /tmp/none /usr/lib/python3/dist-packages/bcc
status=0
vmemscope record --vmlinux "$image" -o /out/nobcc.arrows -- sh -c "$plug" >/out/nobcc.text 2>&1 || status=$?
echo $status >/out/nobcc.rc
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
