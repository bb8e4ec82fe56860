#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1: the dashboard in a terminal is driven into the past of one storm while another passes, and
# back to now; screens as text.
. /lab/lib.sh

keys() { tmux send-keys -t live "$@"; }

before=$(cat /sys/kernel/warn_count)
truth_on twin
tmux new-session -d -s live -x 160 -y 50 \
	'vmemscope live --engine tracefs -o /out/twin.arrows; echo $? >/out/twin.rc'
wait_for 90 "LIVE"
sh -c "$(device 0x5000000000 16384)"
wait_for 60 "256 of 256"
sleep 2
keys Home
wait_for 30 "+0 events, 0 hits arrived since"
screen twin-home
sh -c "$(device 0x5000000000 16384)" &
storm=$!
sleep 1
keys n
keys g
keys -l 0xffffffff4ee00000
keys Enter
sleep 1
screen twin-during
wait $storm
wait_for 60 "256 hits arrived since"
sleep 2
screen twin-past
keys End
wait_for 30 "LIVE"
sleep 2
screen twin-now
keys q
i=0
until [ -s /out/twin.rc ] || [ $i -ge 30 ]; do
	i=$((i + 1))
	sleep 1
done
truth_off twin
left twin
echo "$before $(cat /sys/kernel/warn_count)" >/out/twin.warns
