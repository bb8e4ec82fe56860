// SPDX-License-Identifier: GPL-2.0-only
/*
 * A load generator: calls a kernel function, given by its address, from several threads at a
 * steady rate. insmod returns when it is done; /sys/module/vmemgen/parameters/calls then tells
 * how many calls were made, elapsed_us how long it took.
 *
 *   insmod vmemgen.ko address=0x$(grep ' vmemmap_free$' /proc/kallsyms | cut -d' ' -f1) \
 *	start=0xfffffffe80000000 end=0xfffffffe80200000 threads=2 rate=100000 seconds=60
 *
 * Harmless for vmemmap_free(start, end, NULL) where [start, end) lies inside the window and the
 * kernel's top-level table has no entry for it: it looks, finds nothing mapped, and returns.
 * Anything else you give it is called just the same.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched.h>

static ulong address, start, end, rate, calls, elapsed_us;
static uint threads = 1, seconds = 1;
module_param(address, ulong, 0444);
module_param(start, ulong, 0444);
module_param(end, ulong, 0444);
module_param(rate, ulong, 0444);	/* calls a second in all; 0: as fast as it goes */
module_param(threads, uint, 0444);
module_param(seconds, uint, 0444);
module_param(calls, ulong, 0444);
module_param(elapsed_us, ulong, 0444);

static atomic_long_t made;
static atomic_t running;
static DECLARE_COMPLETION(done);

static int work(void *unused)
{
	void (*function)(ulong, ulong, void *) = (void *)address;
	u64 began = ktime_get_ns(), now = began, stop = began + (u64)seconds * NSEC_PER_SEC;
	ulong mine = 0, due, share = rate / threads;

	while ((now = ktime_get_ns()) < stop) {
		due = share ? div_u64((now - began) * share, NSEC_PER_SEC) : mine + 256;
		if (due > mine + 256)
			due = mine + 256;	/* never away from the scheduler for long */
		for (; mine < due; mine++)
			function(start, end, NULL);
		if (share && div_u64((ktime_get_ns() - began) * share, NSEC_PER_SEC) <= mine)
			usleep_range(100, 500);
		else
			cond_resched();
	}
	atomic_long_add(mine, &made);
	if (atomic_dec_and_test(&running))
		complete(&done);
	return 0;
}

static int __init vmemgen_init(void)
{
	u64 began = ktime_get_ns();
	uint i;

	if (!address || !threads)
		return -EINVAL;
	atomic_set(&running, threads);
	for (i = 0; i < threads; i++) {
		struct task_struct *task = kthread_run(work, NULL, "vmemgen/%u", i);

		if (IS_ERR(task) && atomic_sub_and_test(threads - i, &running)) {
			complete(&done);
			break;
		} else if (IS_ERR(task)) {
			break;
		}
	}
	wait_for_completion(&done);
	calls = atomic_long_read(&made);
	elapsed_us = div_u64(ktime_get_ns() - began, NSEC_PER_USEC);
	pr_info("vmemgen: %lu calls in %lu us\n", calls, elapsed_us);
	return 0;
}

static void __exit vmemgen_exit(void)
{
}

module_init(vmemgen_init);
module_exit(vmemgen_exit);
MODULE_DESCRIPTION("Calls a function at a steady rate");
MODULE_LICENSE("GPL");
