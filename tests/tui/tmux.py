# SPDX-License-Identifier: GPL-2.0-only
"""Runs a command as people do: in a shell of a real terminal, tmux, on a server of its own.

What is shown is read back as text, what is typed goes the way of keys and of a mouse. Nothing waits
for time: what shall be seen is looked for until it is there.
"""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Self

from tests.recordings.made import PATIENCE_S
from tests.tui.processes import ROOT
from tests.tui.terminals import ENVIRONMENT, Size

#: Why nothing of this can run here, if so.
MISSING = "" if shutil.which("tmux") else "no tmux (Debian, Ubuntu: apt install tmux)"

#: A server that has been killed may take a moment to go: no other has its name.
_NUMBERS = count()


class Tmux:
    """``command`` in a window of ``size``; files of ``folder`` say how it ended.

    The shell prints BEFORE first, and AFTER when the command has ended.
    """

    def __init__(self, command: Sequence[object], folder: Path, *, size: Size) -> None:
        self._tmux = [
            "tmux",
            "-u",
            "-f",
            "/dev/null",
            "-L",
            f"vmemscope-{os.getpid()}-{next(_NUMBERS)}",
        ]
        self._folder = folder
        words = " ".join(shlex.quote(str(word)) for word in command)
        here = shlex.quote(str(folder))
        script = (
            f"cd {shlex.quote(str(ROOT))}; echo BEFORE; stty -a >{here}/stty-before; {words}; "
            f"echo $? >{here}/code; stty -a >{here}/stty-after; echo AFTER; exec cat"
        )
        width, height = map(str, size)
        self._run("new-session", "-d", "-x", width, "-y", height, "/bin/sh", "-c", script)
        self._run("set-option", "-g", "status", "off")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run("kill-server")

    def _run(self, *words: str) -> str:
        environment = {name: text for name, text in ENVIRONMENT.items() if name != "TMUX"}
        done = subprocess.run(
            [*self._tmux, *words], capture_output=True, text=True, check=True, env=environment
        )
        return done.stdout

    def screen(self) -> str:
        """Return the text that is shown now."""
        return self._run("capture-pane", "-p")

    def until(self, *texts: str, gone: str | None = None) -> str:
        """Wait until all ``texts`` are shown, and ``gone`` is not; return that screen."""
        return self.seen(
            lambda screen: (
                all(text in screen for text in texts) and (gone is None or gone not in screen)
            )
        )

    def seen(self, what: Callable[[str], bool]) -> str:
        """Wait until a screen is as it shall be; return it."""
        deadline = time.monotonic() + PATIENCE_S
        while not what(screen := self.screen()):
            assert time.monotonic() < deadline, f"never shown; at last there was\n{screen}"
            time.sleep(0.05)
        return screen

    def keys(self, *names: str) -> None:
        """Press keys, by tmux' names."""
        self._run("send-keys", *names)

    def type(self, text: str) -> None:
        """Type a text and enter."""
        self._run("send-keys", "-l", text)
        self.keys("Enter")

    def click(self, column: int, row: int) -> None:
        """Press and let go of the left button on a cell, from 0."""
        for end in "Mm":
            code = f"\x1b[<0;{column + 1};{row + 1}{end}"
            self._run("send-keys", "-H", *(f"{ord(letter):x}" for letter in code))

    def resize(self, size: Size) -> None:
        """Change the window's size."""
        self._run("resize-window", "-x", str(size[0]), "-y", str(size[1]))

    def ended(self) -> int:
        """Wait for the command's end, and return its exit code."""
        self.until("AFTER")
        return int((self._folder / "code").read_text())

    def as_it_was(self) -> bool:
        """Whether the terminal is as it was before the command: settings, screen, mouse."""
        settings = [(self._folder / f"stty-{when}").read_text() for when in ("before", "after")]
        modes = self._run("display-message", "-p", "#{alternate_on}#{mouse_any_flag}#{cursor_flag}")
        return settings[0] == settings[1] and modes == "001\n" and "BEFORE" in self.screen()
