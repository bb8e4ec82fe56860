# SPDX-License-Identifier: GPL-2.0-only
"""Playback: a position in a recording or in a live capture, and what moves it; draws nothing."""
