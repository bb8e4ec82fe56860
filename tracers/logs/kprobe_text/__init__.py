# SPDX-License-Identifier: GPL-2.0-only
"""Reads logs of kprobe events: ftrace, trace-cmd, perf and bpftrace."""
