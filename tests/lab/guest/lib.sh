# SPDX-License-Identifier: GPL-2.0-only
# For the scripts that run in the guest: `. /lab/lib.sh`. Everything they make goes to /out.
#
# scene NAME COMMAND…  runs COMMAND (a minute and a half at most) and keeps, as /out/NAME.*:
#   truth     the kernel's own ftrace of the same moments, in an instance and a probe group that
#             vmemscope knows nothing of
#   profile   each of those probes' hits and misses
#   rc, text  COMMAND's exit code and output
#   warns     /sys/kernel/warn_count before and after
#   left      kprobe events, trace instances and BPF programs there are once COMMAND has ended
# shellcheck shell=sh

T=/sys/kernel/tracing
echo 1 >/proc/sys/kernel/printk # a WARN's splat on the emulated UART takes longer than the WARN

truth_on() {
	mkdir -p $T/instances/truth
	# a kernel that refuses one (notrace) has no truth of it
	for probe in 'memremap memremap_pages' 'memunmap memunmap_pages' \
		'add_pages __add_pages pfn=%x1:u64 nr_pages=%x2:u64' \
		'remove_pages __remove_pages pfn=%x0:u64 nr_pages=%x1:u64' \
		'section_add sparse_add_section pfn=%x1:u64 nr_pages=%x2:u64' \
		'populate vmemmap_populate start=%x0:x64 end=%x1:x64' \
		'free vmemmap_free start=%x0:x64 end=%x1:x64' \
		'warn __warn line=%x1:u32'; do
		echo "p:truth/$probe" >>$T/kprobe_events || true
	done 2>/dev/null
	for probe in 'add_pages_ret __add_pages ret=$retval:s32' 'free_ret vmemmap_free' \
		'section_add_ret sparse_add_section ret=$retval:s32' 'warn_ret __warn'; do
		echo "r64:truth/$probe" >>$T/kprobe_events || true
	done 2>/dev/null
	echo mono >$T/instances/truth/trace_clock
	echo 16384 >$T/instances/truth/buffer_size_kb
	echo 1 >$T/instances/truth/events/truth/enable
}

truth_off() { # NAME
	echo 0 >$T/instances/truth/events/truth/enable
	cat $T/instances/truth/trace >"/out/$1.truth"
	grep truth $T/kprobe_profile >"/out/$1.profile" || cat $T/kprobe_profile >"/out/$1.profile"
	rmdir $T/instances/truth
	grep -o 'truth/[a-z_]*' $T/kprobe_events | sed 's/^/-:/' >>$T/kprobe_events
}

left() { # NAME
	{
		cat $T/kprobe_events $T/uprobe_events
		ls $T/instances
		bpftool prog list
		bpftool link list
		cat /sys/kernel/debug/kprobes/list
	} >"/out/$1.left" 2>&1
}

scene() { # NAME COMMAND…
	name=$1
	shift
	echo "LAB: $name" >/dev/console
	before=$(cat /sys/kernel/warn_count)
	truth_on "$name"
	status=0
	timeout -s KILL 90 "$@" >"/out/$name.text" 2>&1 </dev/null || status=$?
	truth_off "$name"
	left "$name"
	echo "$before $(cat /sys/kernel/warn_count)" >"/out/$name.warns"
	echo $status >"/out/$name.rc"
}

record() { # NAME OPTIONS… -- COMMAND…: a scene recorded into /out/NAME.arrows
	name=$1
	shift
	scene "$name" vmemscope record --no-audit -o "/out/$name.arrows" "$@" # audit.sh has one with
}

own_file() { # of the running kernel, where a distribution has it
	cp -r /boot /tmp/boot
	cp /lab/ko/vmlinuz "/tmp/boot/vmlinuz-$(uname -r)"
	mount --bind /tmp/boot /boot
}

device() { # START SIZE_MB: a shell command that adds and removes a device's memory
	echo "insmod /lab/ko/devpriv.ko start=$1 size_mb=$2 && rmmod devpriv"
}

memory() { # BYTES: have the host plug so much virtio-mem; wait until it is so (a minute at most)
	blocks=$(($1 / 0x$(cat /sys/devices/system/memory/block_size_bytes) + 16)) # 2 GiB of its own
	echo "LAB: memory $1" >/dev/console
	i=0
	until [ "$(ls /sys/devices/system/memory | grep -c "^memory[0-9]")" -eq $blocks ] || [ $i -ge 60 ]; do
		i=$((i + 1))
		sleep 1
	done
}

screen() { tmux capture-pane -p -t live >"/out/$1.screen"; }

wait_for() { # SECONDS TEXT: until it is on the screen; one that never comes fails the boot's tests
	i=0
	until tmux capture-pane -p -t live | grep -q "$2"; do
		i=$((i + 1))
		[ $i -lt $(($1 * 4)) ] || {
			echo "$2" >>/out/never
			break
		}
		sleep 0.25
	done
}

ended() { # NAME: wait until the dashboard has left its exit code
	i=0
	until [ -s "/out/$1.rc" ] || [ $i -ge 120 ]; do
		i=$((i + 1))
		sleep 0.25
	done
}

live() { # COMMAND TEXT: the dashboard in a terminal of 160 by 50 while COMMAND runs, until it shows TEXT
	truth_on live
	tmux new-session -d -s live -x 160 -y 50 \
		'vmemscope live --no-audit --engine tracefs -o /out/live.arrows; echo $? >/out/live.rc'
	wait_for 90 "LIVE"
	screen live-before
	sh -c "$1"
	wait_for 30 "$2"
	sleep 2
	screen live-after
	tmux send-keys -t live q
	ended live
	truth_off live
	left live
}
