# SPDX-License-Identifier: GPL-2.0-only
"""The recording format: its bytes on disk, written and read, and nothing of what they mean."""
