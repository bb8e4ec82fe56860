# SPDX-License-Identifier: GPL-2.0-only
"""Engine bcc: BPF programs on kprobes and breakpoints, compiled by BCC."""
