# SPDX-License-Identifier: GPL-2.0-only
"""The dashboard's panels and tables: each renders the newest snapshot, none reads a source."""
