# SPDX-License-Identifier: GPL-2.0-only
"""Words: numbers with units, addresses, and text of kernels made safe to show."""
