# SPDX-License-Identifier: GPL-2.0-only
"""Doctor: checks what of live capture works here, and names the next step where it does not."""
