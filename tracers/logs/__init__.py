# SPDX-License-Identifier: GPL-2.0-only
"""Readers of what other tools wrote: each yields ``tracers.batch.Batch`` and promises no more."""
