# SPDX-License-Identifier: GPL-2.0-only
"""Reports: what recordings, kernels and this machine say, as text, Markdown, mail and JSON."""
