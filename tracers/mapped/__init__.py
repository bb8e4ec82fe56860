# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel has mapped, and where it has struct pages: asked without a probe, at any time."""
