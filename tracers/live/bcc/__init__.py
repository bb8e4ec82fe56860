# SPDX-License-Identifier: GPL-2.0-only
"""Engine bcc: BPF programs, compiled by BCC."""
