# SPDX-License-Identifier: GPL-2.0-only
"""Capture: what fills recordings, from a running kernel or from a log."""
