# SPDX-License-Identifier: GPL-2.0-only
"""Keeps the position in a recording or a live capture and moves it; draws nothing."""
