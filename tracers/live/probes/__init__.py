# SPDX-License-Identifier: GPL-2.0-only
"""What can be probed in the running kernel, and the ways to do it, most direct first."""
