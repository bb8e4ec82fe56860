# SPDX-License-Identifier: GPL-2.0-only
"""The one base of every error we raise on purpose: its text is one line for a person."""


class VmemscopeError(Exception):
    """Bad input or surroundings: the message says what is wrong and the way out."""
