# SPDX-License-Identifier: GPL-2.0-only
"""Live sources: events out of the running kernel, and what could be attached how."""
