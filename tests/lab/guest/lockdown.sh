#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A distribution's kernel under lockdown=confidentiality: what can still be known of its window.
. /lab/lib.sh
mount -t securityfs none /sys/kernel/security 2>/dev/null
cat /sys/kernel/security/lockdown >/out/lockdown
own_file
vmemscope doctor --json >/out/doctor.text 2>/out/doctor.err
status=0
vmemscope window --live --json >/out/window.text 2>/out/window.err || status=$?
echo $status >/out/window.rc
