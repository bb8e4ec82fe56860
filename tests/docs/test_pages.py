# SPDX-License-Identifier: GPL-2.0-only
"""The pages with Python in them do what they say."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, blocks, printed, rewritten, with_recordings


@pytest.fixture(autouse=True)
def recordings_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the pages name."""
    monkeypatch.chdir(with_recordings(tmp_path))


@pytest.mark.parametrize(("page", "number"), PAGES.items())
def test_each_block_prints_what_stands_below_it(page: str, number: int) -> None:
    told = printed(page)
    assert len(told) == number
    for found, expected in told:
        assert found == expected


@pytest.mark.parametrize("page", PAGES)
def test_rewriting_a_true_page_changes_nothing(page: str) -> None:
    assert rewritten(page) == (DOCS / page).read_text()


def test_the_analysis_needs_none_of_our_code() -> None:
    code = "\n".join(block.code for block in blocks("analysis.md"))
    code += "import sys\nours = {'recordings', 'tracers', 'tui', 'vmemscope'}\n"
    code += "assert not ours & set(sys.modules)\n"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, stdout=subprocess.DEVNULL)
