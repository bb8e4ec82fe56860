# SPDX-License-Identifier: GPL-2.0-only
"""A kernel's image: any file it comes in, read by address and by name."""
