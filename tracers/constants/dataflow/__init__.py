# SPDX-License-Identifier: GPL-2.0-only
"""Tracks values through arm64 code: which constants a function compares with or passes on."""
