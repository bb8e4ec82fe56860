#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A storm, a device that stays, and what the kernel says of itself; then the host dumps the memory.
. /lab/lib.sh
place=0x5000000000 first=2048 second=1024 # MiB; in the hole of 6.1
case $(uname -r) in
6.12*) place=0x2000000000 ;;
7.3*) place=1 first=128 second=128 ;; # physical 0; a section has 512 MiB
esac
if [ -e /lab/ko/devpriv.ko ]; then # stock kernels have none
	sh -c "$(device $place $first)"
	insmod /lab/ko/devpriv.ko start=$place size_mb=$second
fi
vmemscope audit --json >/out/audit.json 2>/out/audit.err || true
cat /proc/iomem >/out/iomem
head -c 65536 /proc/kcore >/out/kcore.head
dmesg >/out/dump.dmesg
echo "LAB: dump dump" >/dev/console # which printk does not see
i=0
until [ -e /out/dump.dumped ] || [ $i -ge 120 ]; do
	i=$((i + 1))
	sleep 1
done
