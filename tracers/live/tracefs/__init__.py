# SPDX-License-Identifier: GPL-2.0-only
"""Engine tracefs: kprobe events and perf breakpoints; needs nothing installed."""
