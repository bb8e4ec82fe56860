"""Engine tracefs: kprobe events and perf breakpoints, with nothing installed."""
