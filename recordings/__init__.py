# SPDX-License-Identifier: GPL-2.0-only
"""Storage, measurement, comparison and export of what tracers observe; no user interface.

Programs use ``vmemscope.open``; what it returns is in ``recordings.api``.
"""
