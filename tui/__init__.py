# SPDX-License-Identifier: GPL-2.0-only
"""The command line and the dashboard: shows what `recordings` keeps, computes no numbers."""
