#!/bin/sh
# 6.1: the dashboard in a terminal of 160 by 50 while the storm passes; screens as text.
. /lab/lib.sh
screen() { tmux capture-pane -p -t live >"/out/$1.screen"; }
wait_for() { # SECONDS TEXT: until it is on the screen
	i=0
	until tmux capture-pane -p -t live | grep -q "$2" || [ $i -ge "$1" ]; do
		i=$((i + 1))
		sleep 1
	done
}
truth_on live
tmux new-session -d -s live -x 160 -y 50 \
	'vmemscope live --engine tracefs -o /out/live.arrows; echo $? >/out/live.rc'
wait_for 60 "window  0x"
screen live-before
insmod /lab/ko/devpriv.ko start=0x5000000000 size_mb=16384 && rmmod devpriv
wait_for 30 "256 of 256"
sleep 2
screen live-after
tmux send-keys -t live q
i=0
until [ -s /out/live.rc ] || [ $i -ge 30 ]; do
	i=$((i + 1))
	sleep 1
done
truth_off live
left live
