# SPDX-License-Identifier: GPL-2.0-only
"""``python -m vmemscope`` is the ``vmemscope`` command."""

from tui.program import main

if __name__ == "__main__":
    main()
