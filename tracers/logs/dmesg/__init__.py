# SPDX-License-Identifier: GPL-2.0-only
"""Kernel logs: WARN splats as events, with arguments only where they are proven."""
