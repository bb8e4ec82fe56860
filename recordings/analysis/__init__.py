# SPDX-License-Identifier: GPL-2.0-only
"""Analysis: questions about whole recordings: comparison, what-if, thresholds."""
