# SPDX-License-Identifier: GPL-2.0-only
"""Where VMEMMAP_START and VMEMMAP_END come from: a kernel's own bytes, several ways at once."""
