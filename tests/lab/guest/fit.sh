#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Where request_free_mem_region() puts regions of many sizes, and the files that describe the
# machine: nothing of vmemscope runs here, and nothing is mapped.
# shellcheck shell=sh
echo 1 >/proc/sys/kernel/printk
mkdir /out/machine
cat /proc/iomem >/out/machine/iomem
uname -a >/out/machine/uname
head -c 65536 /proc/kcore | tr '\0' '\n' | grep -aE '^[A-Z-]+(\(.*\))?=' >/out/machine/kcore-vmcoreinfo
[ ! -e /proc/config.gz ] || zcat /proc/config.gz >/out/machine/config
grep -E ' [a-zA-Z] [a-z_0-9]*(free_mem_region|memstart|pagemap)[a-z_0-9]*$' /proc/kallsyms >/out/symbols
for devm in 0 1; do
	insmod /lab/ko/region.ko devm=$devm size_mb=@SIZES@ && rmmod region
done
dmesg | grep 'region: ' >/out/regions
sync
