# SPDX-License-Identifier: GPL-2.0-only
"""Turns the signals that end a program into an exception, so that what is under way is unwound.

Promises: the first one raises ``Stopped``, the second ends the process as it always does; what is
ignored from outside (``nohup``, ``cmd &`` in a script) stays ignored. A capture and the dashboard
handle them in their own way meanwhile: see ``tui.capturing.signals``, ``tui.dashboard.terminal``.
"""

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Stopped(BaseException):
    """A signal asks the program to end; no error, like ``KeyboardInterrupt``."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


#: The one that was raised, if one was: what becomes of it on its way up is not in our hands. Python
#: before 3.12 makes a RuntimeError of whatever is raised in __set_name__, while a class is made.
_raised: list[Stopped] = []


def unwind(number: int, _: FrameType | None) -> NoReturn:
    """Handle a signal: raise ``Stopped``, once."""
    for each in _SIGNALS:
        if signal.getsignal(each) is unwind:
            signal.signal(each, signal.SIG_DFL)
    _raised.append(Stopped(number))
    raise _raised[0]


def stopped() -> Stopped | None:
    """Return what a signal raised, None if none came."""
    return _raised[0] if _raised else None


def unwind_on_signals() -> None:
    """Have these signals raise ``Stopped`` in the main thread, which calls this."""
    for each in _SIGNALS:
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, unwind)
    sys.unraisablehook = _unraisable


def _unraisable(unraised: "UnraisableHookArgs") -> None:
    if isinstance(unraised.exc_value, Stopped):  # it came while an object was being deleted
        os._exit(unraised.exc_value.exit_code)
    sys.__unraisablehook__(unraised)
