# SPDX-License-Identifier: GPL-2.0-only
"""Reads a kernel image, in any file format it comes in, by address and by symbol."""
