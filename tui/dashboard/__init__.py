# SPDX-License-Identifier: GPL-2.0-only
"""The dashboard application: keys, themes and the terminal it runs in."""
