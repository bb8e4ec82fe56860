# SPDX-License-Identifier: GPL-2.0-only
"""Reads trace-cmd's own files (trace.dat), without the program."""
