# SPDX-License-Identifier: GPL-2.0-only
"""Widgets of the dashboard: each renders the newest snapshot and knows no source."""
