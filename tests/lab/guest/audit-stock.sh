#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Debian's own kernels have no kernel_page_tables: /proc/kcore alone. 1 GiB of virtio-mem is plugged.
. /lab/lib.sh
audit() { # NAME
	status=0
	timeout -s KILL 240 vmemscope audit --live --json >"/out/$1.json" 2>"/out/$1.err" || status=$?
	echo $status >"/out/$1.rc"
	cat /proc/iomem >"/out/$1.iomem"
	ls /sys/devices/system/memory >"/out/$1.blocks"
}
echo online >/sys/devices/system/memory/auto_online_blocks # 6.1 leaves it to user space
audit none
memory 1073741824
audit plugged
vmemscope audit >/out/plugged.text 2>&1
mount -t securityfs none /sys/kernel/security
cat /sys/kernel/security/lockdown >/out/lockdown
