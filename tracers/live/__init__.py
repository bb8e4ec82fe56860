# SPDX-License-Identifier: GPL-2.0-only
"""Live capture: attaches probes to the running kernel and yields their events."""
