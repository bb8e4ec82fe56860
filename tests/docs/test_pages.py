# SPDX-License-Identifier: GPL-2.0-only
"""The pages with Python in them do what they say."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recordings.samples import sample_path
from tests.docs.pages import blocks, printed


@pytest.fixture(autouse=True)
def recordings_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the pages name."""
    for name in ("storm", "in-range-6.12"):
        shutil.copy(sample_path(name), tmp_path / f"{name}.arrows")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("page", "number"), [("analysis.md", 6), ("python.md", 5)])
def test_each_block_prints_what_stands_below_it(page: str, number: int) -> None:
    told = printed(page)
    assert len(told) == number
    for found, expected in told:
        assert found == expected


def test_the_analysis_needs_none_of_our_code() -> None:
    code = "\n".join(block.code for block in blocks("analysis.md"))
    code += "import sys\nours = {'recordings', 'tracers', 'tui', 'vmemscope'}\n"
    code += "assert not ours & set(sys.modules)\n"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, stdout=subprocess.DEVNULL)
