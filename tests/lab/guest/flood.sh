#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1 with a small ring: it wraps while the recorder stands still.
. /lab/lib.sh
echo on >/proc/sys/kernel/printk_devkmsg # else what programs write is limited
vmemscope record --engine kmsg -o /out/flood.arrows >/out/flood.text 2>&1 &
recorder=$!
until grep -q 'reading the kernel log' /out/flood.text; do sleep 0.2; done
sh -c "$(device 0x5000000000 1024)"
sleep 2
numbers() { # the first and the last record that are in the ring now
	python3 -c '
import os
ring = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
numbers = []
try:
    while record := os.read(ring, 16384):
        numbers.append(int(record.split(b",")[1]))
except BlockingIOError:
    print(numbers[0], numbers[-1])
'
}
numbers >/out/before
kill -STOP $recorder
sh -c "$(device 0x5000000000 1024)"
i=0
while [ $i -lt 9000 ]; do
	echo "record $i of a program that floods the ring of the kernel with messages of its own"
	i=$((i + 1))
done | while read -r line; do echo "$line" >/dev/kmsg; done
numbers >/out/after
kill -CONT $recorder
sleep 1
sh -c "$(device 0x5000000000 1024)"
sleep 1
kill -TERM $recorder
wait $recorder
echo $? >/out/flood.rc
cat /sys/kernel/warn_count >/out/flood.warns
