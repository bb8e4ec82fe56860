# SPDX-License-Identifier: GPL-2.0-only
"""docs/completions is what click writes (``make completions``), and bash completes by it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS

COMPLETIONS = DOCS / "completions"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("shell", "name"), [("bash", "vmemscope"), ("fish", "vmemscope.fish"), ("zsh", "_vmemscope")]
)
def test_it_is_what_click_writes_now(shell: str, name: str) -> None:
    done = subprocess.run(
        ["vmemscope"],
        env=os.environ | {"PATH": PATH, "_VMEMSCOPE_COMPLETE": f"{shell}_source"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert (COMPLETIONS / name).read_text() == done.stdout


def completed(words: str, folder: Path) -> list[str]:
    """What bash would offer on TAB behind ``words``, of files only that they are wanted."""
    script = (
        "compopt() { files=yes; }\n"  # bash has it only within a real TAB
        f"source {COMPLETIONS}/vmemscope\n"
        "complete -p vmemscope | grep -q _vmemscope_completion || exit\n"
        f"COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
        "_vmemscope_completion vmemscope\n"
        'printf "%s\\n" "${COMPREPLY[@]}" ${files:+FILES}\n'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"PATH": PATH},
        cwd=folder,
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("vmemscope rep", ["replay", "report"]),
        ("vmemscope repo", ["report"]),
        ("vmemscope report --form", ["--format"]),
        ("vmemscope report --format ''", ["text", "json", "markdown", "lkml"]),
        ("vmemscope import --format t", ["trace.dat", "trace-cmd"]),
        ("vmemscope report ''", ["FILES"]),
        ("vmemscope report below.arr", ["FILES"]),
        ("vmemscope report sample:b", ["sample:below-6.1", "sample:below-6.12"]),
        ("vmemscope check a.arrows sam", ["FILES"]),  # sample.arrows is there
        ("vmemscope report a.arrows --window-of sample:sto", ["sample:storm", "sample:storm-once"]),
        ("vmemscope export a.arrows -o sample:s", ["FILES"]),
        ("vmemscope record -o a.arrows -- ''", ["FILES"]),
    ],
)
def test_bash_completes(words: str, offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "sample.arrows").touch()
    assert completed(words, tmp_path) == offered
