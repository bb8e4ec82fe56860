"""``python -m tui`` is ``vmemscope``."""

from tui.commands.main import main

main()
