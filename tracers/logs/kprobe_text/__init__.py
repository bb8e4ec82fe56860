"""Logs of kprobe events: ftrace, trace-cmd, perf and bpftrace."""
