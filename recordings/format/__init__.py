# SPDX-License-Identifier: GPL-2.0-only
"""The recording format on disk: reads and writes batches, without interpreting their events."""
