# SPDX-License-Identifier: GPL-2.0-only
"""Reads kernel logs: WARN splats become events, with arguments only where they are proven."""
