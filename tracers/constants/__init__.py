# SPDX-License-Identifier: GPL-2.0-only
"""Finds a kernel's VMEMMAP_START and VMEMMAP_END in its own files and memory, in several ways."""
