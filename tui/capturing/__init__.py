# SPDX-License-Identifier: GPL-2.0-only
"""A capture under a command: opened, watched, narrated and ended by signals."""
