# SPDX-License-Identifier: GPL-2.0-only
"""Capture: makes recordings, of a running kernel or from a log."""
