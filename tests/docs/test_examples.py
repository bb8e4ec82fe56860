# SPDX-License-Identifier: GPL-2.0-only
"""The transcripts in docs/examples: each command prints what stands below it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recordings.samples import sample_path
from tests.docs.pages import DOCS


def transcript(page: str) -> list[tuple[str, str]]:
    """The commands of a page, each with the lines up to the next empty one."""
    found = []
    for piece in (DOCS / "examples" / page).read_text().split("\n\n"):
        if piece.startswith("$ "):
            command, _, expected = piece.rstrip("\n").partition("\n")
            found.append((command[2:], expected))
    return found


@pytest.mark.parametrize(("page", "number"), [("export.txt", 6)])
def test_each_command_prints_what_stands_below_it(page: str, number: int, tmp_path: Path) -> None:
    (tmp_path / "torn.arrows").write_bytes(sample_path("storm").read_bytes()[:-100])
    commands = transcript(page)
    assert len(commands) == number
    for command, expected in commands:
        done = subprocess.run(
            ["bash", "-c", f"{command}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        assert done.stdout.rstrip("\n") == expected, command
