# SPDX-License-Identifier: GPL-2.0-only
"""The transcripts in docs/examples and README.md: what commands printed, and what they print now.

A line "    $ COMMAND" (continued by "    > …") is a command, the indented lines after it are its
stdout and stderr as a terminal of 80 columns shows them. Lines after "    # COMMAND" are of a
machine of their own, as root, and are left as they are. ``make examples`` writes what the commands
print now into the files: look at the difference before you keep it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
EXAMPLES: Final = ROOT / "docs" / "examples"
_INDENT: Final = "    "
_USER, _MORE, _ROOT = (f"{_INDENT}{mark} " for mark in "$>#")
_CODE: Final = "import sys; sys.argv[0] = 'vmemscope'; from tui.program import main; main()"


def files() -> list[Path]:
    """Return all files with examples."""
    return [*sorted(EXAMPLES.glob("*.txt")), ROOT / "README.md"]


def commands(text: str) -> list[str]:
    """Return the commands that are run again."""
    return [" ".join(_words(block)) for block in _blocks(text) if block[0].startswith(_USER)]


def rerun(text: str, folder: Path) -> str:
    """Return ``text`` with what its commands print now, run one after the other in ``folder``.

    ``folder``: empty; tests/ is seen in it, and files that a command makes stay for the next one.
    """
    environment = _environment(folder)
    status = 0
    lines: list[str] = []
    for block in _blocks(text):
        if not block[0].startswith(_USER):
            lines += block
            continue
        typed = [line for line in block if line.startswith((_USER, _MORE))]
        done = subprocess.run(
            ["sh", "-c", f"(exit {status}); {' '.join(_words(block))}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=folder / "work",
            env=environment,
        )
        status = done.returncode
        lines += typed
        lines += [f"{_INDENT}{line}".rstrip() for line in done.stdout.rstrip().splitlines()]
        lines += block[len("\n".join(block).rstrip().splitlines()) :]  # the empty lines after it
    return "".join(f"{line}\n" for line in lines)


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield the lines of ``text`` as they belong together: a command with its output, or prose."""
    block: list[str] = []
    for line in text.splitlines():
        begins = line.startswith((_USER, _ROOT))
        inside = bool(block) and block[0].startswith((_USER, _ROOT))
        prose = bool(line) and not line.startswith(_INDENT)
        if block and (begins or (inside and prose)):
            yield block
            block = []
        block.append(line)
    if block:
        yield block


def _words(block: list[str]) -> list[str]:
    typed = [line for line in block if line.startswith((_USER, _MORE))]
    return [line[len(_USER) :].removesuffix("\\").strip() for line in typed]


def _environment(folder: Path) -> dict[str, str]:
    """Make ``folder`` one where ``vmemscope`` is this checkout's, whatever is installed."""
    for name in ("bin", "work"):
        (folder / name).mkdir()
    (folder / "work" / "tests").symlink_to(ROOT / "tests")
    script = folder / "bin" / "vmemscope"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{_CODE}" "$@"\n')
    script.chmod(0o755)
    return {
        "PATH": f"{folder / 'bin'}:{os.defpath}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "COLUMNS": "80",
    }


if __name__ == "__main__":
    for path in files():
        with tempfile.TemporaryDirectory() as made:
            path.write_text(rerun(path.read_text(), Path(made)))
