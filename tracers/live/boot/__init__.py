# SPDX-License-Identifier: GPL-2.0-only
"""Capture from boot on: probes that the kernel command line makes, and what they caught."""
