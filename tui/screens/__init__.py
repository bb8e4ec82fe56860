# SPDX-License-Identifier: GPL-2.0-only
"""The dashboard's screens: the panels, help, one call explained, the probes."""
