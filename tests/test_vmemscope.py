# SPDX-License-Identifier: GPL-2.0-only
"""The package that other programs import, and ``python -m vmemscope``."""

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import click
import pytest

import recordings.api
import recordings.format.header
import vmemscope
from tracers import __version__
from tui.commands.main import cli

ROOT = Path(__file__).resolve().parents[1]


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, check=True, text=True, cwd=ROOT
    )
    return done.stdout


def test_the_example_is_true() -> None:
    assert doctest.testmod(vmemscope) == (0, 2)


def test_every_name_is_there_and_listed() -> None:
    assert vmemscope.__version__ == __version__
    assert vmemscope.OpenRecording is recordings.api.OpenRecording
    assert vmemscope.RecordingError is recordings.format.header.RecordingError
    assert issubclass(vmemscope.RecordingError, vmemscope.VmemscopeError)
    assert [name for name in vmemscope.__all__ if not hasattr(vmemscope, name)] == []
    assert set(vmemscope.__all__) <= set(dir(vmemscope))
    listed = python("-c", "import vmemscope; print(*set(vmemscope.__all__) - set(dir(vmemscope)))")
    assert listed == "\n"
    with pytest.raises(AttributeError, match="module 'vmemscope' has no attribute 'nope'"):
        vmemscope.nope  # noqa: B018
    assert all(inspect.getdoc(getattr(vmemscope, name)) for name in vmemscope.__all__)


def test_importing_costs_nothing_and_arrow_needs_no_pandas() -> None:
    python(
        "-c",
        "import sys, vmemscope\n"
        "loaded = lambda *names: {*names} & set(sys.modules)\n"
        "assert not loaded('pyarrow', 'numpy', 'pandas', 'click', 'textual')\n"
        "with vmemscope.open('sample:storm') as recording:\n"
        "    recording.to_arrow(), recording.snapshot\n"
        "assert not loaded('pandas', 'click', 'textual')\n",
    )


def test_the_module_is_the_command() -> None:
    assert python("-m", "vmemscope", "--version") == f"vmemscope, version {__version__}\n"
    told = python("-m", "vmemscope", "--help")
    assert all(f"\n  {name} " in told for name in cli.list_commands(click.Context(cli)))


def test_types_of_ours_are_for_programs_too() -> None:
    packages = ("vmemscope", "recordings", "tracers")  # what vmemscope.open returns is of these
    assert all((ROOT / package / "py.typed").is_file() for package in packages)


def test_the_man_page_is_of_this_version() -> None:
    title = (ROOT / "docs" / "vmemscope.8").read_text().splitlines()[0]
    assert f'"vmemscope {__version__}"' in title
