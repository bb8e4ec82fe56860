#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A distribution's kernel: the host gives 1 GiB through virtio-mem, and takes it back.
. /lab/lib.sh
echo online_movable >/sys/devices/system/memory/auto_online_blocks # so that it can be taken back
plug='. /lab/lib.sh; memory 1073741824; memory 0'
scene doctor vmemscope doctor --json
for engine in tracefs bcc; do
	record hotplug-$engine --engine $engine -- sh -c "$plug"
done
ls /usr/src >/out/headers # BCC compiles without any
