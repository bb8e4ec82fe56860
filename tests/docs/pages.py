# SPDX-License-Identifier: GPL-2.0-only
"""Pages with Python in them: runs the blocks of a page in order, and what each should print.

``make examples`` writes what the blocks print now below them.
"""

import contextlib
import io
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from recordings.samples import sample_path

#: The pages, and how many blocks each has.
PAGES = {"analysis.md": 6, "python.md": 5}
DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    """A block of code and the text below it."""

    line: int
    code: str
    expected: str | None = None


def blocks(page: str) -> list[Block]:
    """The blocks of a page; each text belongs to the code right above it."""
    text = (DOCS / page).read_text()
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        if match[1] == "python":
            found.append(Block(text[: match.start()].count("\n") + 2, match[2]))
        else:
            assert found, match[2]
            assert found[-1].expected is None, match[2]
            found[-1].expected = match[2]
    return found


def printed(page: str) -> list[tuple[str, str | None]]:
    """What each block prints, run in one namespace, and what stands below it."""
    namespace: dict[str, object] = {"__name__": page}
    told = []
    for block in blocks(page):
        out = io.StringIO()
        # Lines as on the page, so that a traceback points there.
        code = compile("\n" * (block.line - 1) + block.code, DOCS / page, "exec")
        with contextlib.redirect_stdout(out):
            exec(code, namespace)  # noqa: S102 (our own pages)
        told.append((out.getvalue(), block.expected))
    return told


def with_recordings(folder: Path) -> Path:
    """Put the recordings that the pages name into a folder, which is returned."""
    shutil.copy(sample_path("storm"), folder / "storm.arrows")
    return folder


def rewritten(page: str) -> str:
    """A page with what its blocks print now."""
    text = (DOCS / page).read_text()
    texts = iter([found for found, expected in printed(page) if expected is not None])
    return _BLOCK.sub(
        lambda match: match[0] if match[1] == "python" else f"```text\n{next(texts)}```", text
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made, contextlib.chdir(with_recordings(Path(made))):
        for name in PAGES:
            (DOCS / name).write_text(rewritten(name))
