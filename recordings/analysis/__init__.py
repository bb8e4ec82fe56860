# SPDX-License-Identifier: GPL-2.0-only
"""Analysis of whole recordings: comparison, what-if, thresholds."""
