#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1: the dashboard in a terminal while a storm passes; then it is driven into the past of that one
# while another passes, a filter typed there, and back to now. Screens as text.
. /lab/lib.sh

keys() { tmux send-keys -t live "$@"; }

before=$(cat /sys/kernel/warn_count)
truth_on twin
tmux new-session -d -s live -x 160 -y 50 \
	'vmemscope live --no-audit --engine tracefs -o /out/twin.arrows; echo $? >/out/twin.rc'
wait_for 90 "LIVE"
screen live-before
sh -c "$(device 0x5000000000 16384)"
wait_for 60 "256 of 256"
sleep 2
screen live-after
keys Home
wait_for 30 "+0 events, 0 hits arrived since"
screen twin-home
insmod /lab/ko/devpriv.ko start=0x5000000000 size_mb=16384 &
storm=$!
sleep 1
keys n
keys g
keys -l 0xffffffff4ee00000
keys Enter
sleep 1
screen twin-during
keys /
keys -l comm:rmmod
keys Enter
wait $storm
wait_for 60 "128 of 384 calls match"
screen twin-filter-in
rmmod devpriv
wait_for 60 "256 of 512 calls match"
sleep 2
screen twin-filter-out
keys Escape
wait_for 30 "512 of 512"
sleep 2
screen twin-past
keys /
keys -l comm:rmmod
keys Enter
wait_for 30 "256 of 512 calls match"
keys End
wait_for 30 "LIVE"
screen twin-filter-now
keys Escape
wait_for 30 "512 of 512"
sleep 2
screen twin-now
keys q
ended twin
truth_off twin
left twin
echo "$before $(cat /sys/kernel/warn_count)" >/out/twin.warns
