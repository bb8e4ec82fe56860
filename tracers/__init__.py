# SPDX-License-Identifier: GPL-2.0-only
"""Ground floor: facts and events, out of kernels and their logs. Knows no file format of ours."""

__version__ = "0.1.0"
