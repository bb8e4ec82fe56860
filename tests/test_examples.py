# SPDX-License-Identifier: GPL-2.0-only
"""The examples in docs/ are what the commands print: every one that can be run is run again."""

import re
from pathlib import Path

import pytest

from tests.examples import EXAMPLES, ROOT, commands, files, rerun
from tracers import __version__
from tracers.live.doctor.examine import examine


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_an_example_is_what_the_commands_print(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    assert rerun(text, tmp_path) == text


@pytest.mark.parametrize("name", ["import", "report", "window", "explain"])
def test_commands_that_need_no_machine_are_all_run(name: str) -> None:
    text = (EXAMPLES / f"{name}.txt").read_text()
    assert any(f"vmemscope {name} " in command for command in commands(text))
    assert "\n    # " not in text


def test_files_that_examples_speak_of_are_there() -> None:
    for path in files():
        for name in re.findall(r"\b(?:docs|tests)/[\w./-]*\w", path.read_text()):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


def test_doctors_example_names_what_doctor_looks_at(tmp_path: Path) -> None:
    text = (EXAMPLES / "doctor.txt").read_text()
    told = re.findall(r"^    (\w[\w ]*\w) +(?:ok {6}|no {6}|unknown )", text, re.MULTILINE)
    assert set(told) == {check.name for check in examine(tmp_path).checks}


# -- the runner itself ---------------------------------------------------------------------------

MADE = """\
Prose.

    $ printf 'one\\n\\ntwo \\n'; echo words >&2; false
    stale

    $ echo $? \\
    >   more

Between.
    # reboot
    Connection closed.

    $ echo data > file
    $ ls
    $ vmemscope --version
"""


def test_the_runner_puts_in_what_is_printed_now(tmp_path: Path) -> None:
    assert (
        rerun(MADE, tmp_path)
        == f"""\
Prose.

    $ printf 'one\\n\\ntwo \\n'; echo words >&2; false
    one

    two
    words

    $ echo $? \\
    >   more
    1 more

Between.
    # reboot
    Connection closed.

    $ echo data > file
    $ ls
    file
    tests
    $ vmemscope --version
    vmemscope, version {__version__}
"""
    )


def test_only_what_a_user_types_is_run() -> None:
    assert commands(MADE) == [
        "printf 'one\\n\\ntwo \\n'; echo words >&2; false",
        "echo $? more",
        "echo data > file",
        "ls",
        "vmemscope --version",
    ]
