#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A storm, a device that stays, and what the kernel says of itself; then the host dumps the memory.
. /lab/lib.sh
place=0x5000000000 # in the hole of 6.1
case $(uname -r) in 6.12*) place=0x2000000000 ;; esac
if [ -e /lab/ko/devpriv.ko ]; then # stock kernels have none
	sh -c "$(device $place 2048)"
	insmod /lab/ko/devpriv.ko start=$place size_mb=1024
fi
cat /proc/iomem >/out/iomem
head -c 65536 /proc/kcore >/out/kcore.head
dmesg >/out/dump.dmesg
echo "LAB: dump dump" >/dev/console # which printk does not see
i=0
until [ -e /out/dump.dumped ] || [ $i -ge 120 ]; do
	i=$((i + 1))
	sleep 1
done
