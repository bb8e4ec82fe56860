# SPDX-License-Identifier: GPL-2.0-only
"""A kernel's memory out of a dump's bytes: where they lie, and at which addresses."""
