# SPDX-License-Identifier: GPL-2.0-only
"""Every call of a recording, to list, filter and count: what a screen looks at."""
