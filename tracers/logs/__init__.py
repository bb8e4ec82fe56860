# SPDX-License-Identifier: GPL-2.0-only
"""Readers of logs that other tools wrote; each yields ``tracers.batch.Batch``."""
