#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Where request_free_mem_region() puts regions of many sizes, and the files that describe the
# machine: nothing of vmemscope runs here, and nothing is mapped.
echo 1 >/proc/sys/kernel/printk
mkdir /out/machine
cat /proc/iomem >/out/machine/iomem
uname -a >/out/machine/uname
head -c 65536 /proc/kcore | tr '\0' '\n' | grep -aE '^[A-Z-]+(\(.*\))?=' >/out/machine/kcore-vmcoreinfo
sizes=1,128,129,1024,16384,1048576,8388608,16777216,37748736,50331648,67108864,100663296,134217728
for devm in 0 1; do
	insmod /lab/ko/region.ko devm=$devm size_mb=$sizes && rmmod region
done
dmesg | grep 'region: [0-9]' >/out/regions
