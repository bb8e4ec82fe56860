# SPDX-License-Identifier: GPL-2.0-only
"""Text formatting: numbers with units, addresses, and untrusted text made safe to show."""
