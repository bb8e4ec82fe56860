"""``python -m tui`` is ``vmemscope``."""

from tui.cli import main

main()
