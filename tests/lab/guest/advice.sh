#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A distribution's kernel brought into states in which something of live capture lacks: what doctor
# says, and what it says once its step was followed as it stands. At last the kernel is locked down.
. /lab/lib.sh
doctor() { # NAME [COMMAND…]: doctor's JSON, as somebody else with setpriv
	name=$1
	shift
	echo "LAB: $name" >/dev/console
	status=0
	"$@" vmemscope doctor --json >"/out/$name.text" 2>"/out/$name.err" || status=$?
	echo $status >"/out/$name.rc"
}
follow() { # NAME CHECK: run the step that doctor gave, up to what it says beside the command
	python3 - "$1" "$2" >"/out/$1.step" <<-'PYTHON'
		import json, sys
		name, check = sys.argv[1:]
		(found,) = [c for c in json.load(open(f"/out/{name}.text"))["checks"] if c["name"] == check]
		print((found["steps"].get("debian") or found["steps"].get("", "")).partition(";")[0])
	PYTHON
	sh -c "$(cat "/out/$1.step")" >"/out/$1.followed" 2>&1 || echo "rc=$?" >>"/out/$1.followed"
}
nobody='setpriv --reuid=65534 --regid=65534 --clear-groups'

doctor securityfs # ./guest-init does not mount it
follow securityfs lockdown
doctor ready
doctor nobody $nobody
all='+sys_admin,+bpf,+perfmon,+syslog,+dac_override,+sys_rawio'
doctor ambient $nobody --inh-caps=$all --ambient-caps=$all
doctor container setpriv --bounding-set=-all,+dac_override --inh-caps=-all
echo 2 >/proc/sys/kernel/kptr_restrict
doctor hidden
follow hidden symbols
doctor shown
umount /sys/kernel/tracing
umount /sys/kernel/debug # where the kernel mounts it by itself
doctor unmounted
follow unmounted tracefs
mount -t debugfs debugfs /sys/kernel/debug
doctor mounted
echo 1 >/proc/sys/kernel/panic_on_oops
doctor panics
follow panics panics
doctor calm
python3 - <<-'PYTHON' &
	import os, platform, time
	from tracers.live.tracefs import breakpoints
	held = [breakpoints._open(0x1000, 0, breakpoints._MACHINES[platform.machine()]) for _ in range(5)]
	open("/tmp/held", "w").close()
	time.sleep(300)
PYTHON
holder=$!
until [ -e /tmp/held ]; do sleep 1; done
doctor held
kill $holder
wait $holder 2>/dev/null
doctor released

own_file
echo confidentiality >/sys/kernel/security/lockdown
doctor locked
follow locked "kernel text" # the same doctor, with --vmlinux
vmemscope doctor --json --vmlinux "/boot/vmlinuz-$(uname -r)" >/out/vmlinux.text 2>/out/vmlinux.err
