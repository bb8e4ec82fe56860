# SPDX-License-Identifier: GPL-2.0-only
"""Middle floor: keeps, measures, compares and exports what tracers observe. Draws nothing.

Programs use ``vmemscope.open``; what it returns is in ``recordings.api``.
"""
