# SPDX-License-Identifier: GPL-2.0-only
"""Finds what can be probed in the running kernel, and tries the ways to do it."""
