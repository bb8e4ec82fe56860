# SPDX-License-Identifier: GPL-2.0-only
"""The Textual application: keys, themes, and the terminal it runs in."""
