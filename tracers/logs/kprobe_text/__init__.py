# SPDX-License-Identifier: GPL-2.0-only
"""Logs of kprobe events: ftrace, trace-cmd, perf and bpftrace."""
