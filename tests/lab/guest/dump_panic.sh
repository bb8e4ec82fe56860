#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1 with oops=panic: the kernel wraps, panics and stands; the host dumps it then.
. /lab/lib.sh
cat /proc/iomem >/out/iomem
echo 8 >/proc/sys/kernel/printk
insmod /lab/ko/devpriv.ko start=0 size_mb=1024
