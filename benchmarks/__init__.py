# SPDX-License-Identifier: GPL-2.0-only
"""Measurements against a named peer in the same run: ``make bench``. Figures, never verdicts."""
