# SPDX-License-Identifier: GPL-2.0-only
"""Reports on recordings, kernels and this machine, as text, Markdown, mail and JSON."""
