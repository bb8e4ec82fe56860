#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.12: requests for free regions, granted and refused, recorded live by both engines.
. /lab/lib.sh
ask='for devm in 0 1; do insmod /lab/ko/region.ko devm=$devm size_mb=1024,16384,134217728 && rmmod region; done'
cat /proc/iomem >/out/iomem
head -c 65536 /proc/kcore | tr '\0' '\n' | grep -aE '^NUMBER' >/out/note
for engine in tracefs bcc; do
	record regions-$engine --engine $engine -- sh -c "$ask"
done
dmesg | grep 'region: [0-9]' >/out/regions
record placed --engine tracefs -- sh -c "$(device 0 1024)"
record too-large --engine tracefs -- insmod /lab/ko/devpriv.ko start=0 size_mb=134217728
scene fit vmemscope window --live --fit 16G --json
