# SPDX-License-Identifier: GPL-2.0-only
"""The error raised by everything that reads a kernel's constants."""

from tracers.errors import VmemscopeError


class ConstantsError(VmemscopeError):
    """Not a kernel we can read, or a damaged one: one line says what it is and what to do."""
