# SPDX-License-Identifier: GPL-2.0-only
"""The ``vmemscope`` program: runs the command; turns whatever happens into an exit code.

Promises: the exit code is 0, 1 or 3 only where a command said so. Everything else that ends it, an
error of ours or of a library, is one line on stderr and code 2; with ``VMEMSCOPE_TRACEBACK`` set
the traceback of an unexpected one comes before it. A signal unwinds what is under way, so that
nothing half made is left, and is code 128 + its number, as in a shell; the second one is not
waited for.
"""

import os
import sys
from contextlib import suppress
from typing import Final, NoReturn

from tui.stopping import Stopped, stopped, unwind_on_signals

EXIT_UNREADABLE: Final = 2
_NAME: Final = "vmemscope"
_COMPLETING: Final = "_VMEMSCOPE_COMPLETE"  # set by what a shell runs on TAB


def main() -> NoReturn:
    """Run the command and leave with an exit code of the documented set."""
    unwind_on_signals()
    try:
        code = _run()
    except Stopped as stop:
        code = stop.exit_code
    except BaseException as error:  # noqa: BLE001 (a crash is never a verdict)
        code = _crashed(error)
    sys.exit(code)


def _run() -> int:
    from tui.streams import open_streams  # noqa: PLC0415 (an import that fails is a crash, too)

    open_streams()
    code = _command()
    try:
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 (as those of the command)
        return _exit_code(error)
    return code


def _command() -> int:
    try:
        from tui.commands.main import cli  # noqa: PLC0415 (as above)

        if _COMPLETING in os.environ:
            cli.main(prog_name=_NAME)
        # Not by cli.main: it makes 1 of a broken pipe, whosever it is.
        with cli.make_context(_NAME, sys.argv[1:]) as context:
            cli.invoke(context)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else EXIT_UNREADABLE
    except Exception as error:  # noqa: BLE001 (whatever it is)
        return _exit_code(error)
    return 0


def _exit_code(error: Exception) -> int:
    """Tell an error in one line; return its exit code. What a signal brought about is no error."""
    if (stop := stopped()) is not None:
        return stop.exit_code
    import click  # noqa: PLC0415 (as above)

    from tracers.errors import VmemscopeError  # noqa: PLC0415
    from tui.streams import ReaderGoneError, say  # noqa: PLC0415

    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case ReaderGoneError():  # of click's own text, such as the help: commands ignore it
            return 0
        case click.exceptions.NoArgsIsHelpError():  # the whole help
            for line in error.format_message().splitlines():
                say(line)
        case click.ClickException():
            context = getattr(error, "ctx", None)
            hint = f" (see {context.command_path} --help)" if context else ""
            say(f"vmemscope: {' '.join(error.format_message().split())}{hint}")
        case VmemscopeError():
            say(f"vmemscope: {error}")
        case _:
            return _crashed(error)
    return EXIT_UNREADABLE


def _crashed(error: BaseException) -> int:
    """Tell an error that nobody expected; needs no module of ours that is not loaded."""
    if (stop := stopped()) is not None:
        return stop.exit_code
    if os.environ.get("VMEMSCOPE_TRACEBACK"):
        sys.excepthook(type(error), error, error.__traceback__)
    what = type(error).__name__
    if text := " ".join(ascii(str(error))[1:-1].split()):
        what += f": {text:.500}"
    line = f"vmemscope: unexpected error, please report it: {what}"
    with suppress(OSError):  # print ignores a stderr that is closed
        print(f"{line} (VMEMSCOPE_TRACEBACK=1 shows where)", file=sys.stderr)  # noqa: T201
    return EXIT_UNREADABLE
