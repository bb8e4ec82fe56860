# SPDX-License-Identifier: GPL-2.0-only
"""Doctor: what of live capture works on this machine, and the next step where it does not."""
