# SPDX-License-Identifier: GPL-2.0-only
"""The commands of the CLI: options in, exit code out; each imports what it needs when it runs."""
