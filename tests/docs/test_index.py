# SPDX-License-Identifier: GPL-2.0-only
# SPDX-License-Identifier: GPL-2.0-only
"""The documentation can be found: indexes name every page, links lead somewhere, rooms are told."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS

ROOT = DOCS.parent
#: Folders of tools, and of what is built: nothing in them is ours.
PASSED_OVER = {"build", "dist", "node_modules"}
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
FENCED = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def markdown() -> Iterator[Path]:
    """Every page of the repository; of hidden folders only .github."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name == ".github" or not (name.startswith(".") or name in PASSED_OVER)
        ]
        yield from (Path(folder, name) for name in files if name.endswith(".md"))


def prose(page: Path) -> str:
    """The page without its code, in which brackets mean something else."""
    return INLINE.sub("", FENCED.sub("", page.read_text()))


def links(page: Path) -> list[str]:
    """What a page links to, but for the web."""
    text = prose(page)
    return [
        link
        for link in (*LINK.findall(text), *REFERENCE.findall(text))
        if not ELSEWHERE.match(link)
    ]


def target(page: Path, link: str) -> Path:
    """The file or folder that a link leads to."""
    name = link.partition("#")[0]
    return (page.parent / name).resolve() if name else page


def linked(page: Path) -> set[Path]:
    return {target(page, link) for link in links(page)}


def anchors(page: Path) -> set[str]:
    """What can stand behind # in a link to the page, as GitHub makes it of the headings."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_transcript_is_linked_from_its_index() -> None:
    transcripts = set((DOCS / "examples").glob("*.txt"))
    assert transcripts
    assert transcripts <= linked(DOCS / "examples" / "README.md")


def test_every_page_is_linked_from_the_index() -> None:
    pages = {*DOCS.glob("*.md"), DOCS / "vmemscope.8", DOCS / "examples" / "README.md"}
    assert pages - {DOCS / "README.md"} <= linked(DOCS / "README.md")


@pytest.mark.parametrize("page", sorted(markdown()), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    for link in links(page):
        found = target(page, link)
        assert found.exists(), link
        assert found.is_relative_to(ROOT), link
        if "#" in link and found.suffix == ".md":
            assert link.partition("#")[2] in anchors(found), link


@pytest.mark.parametrize("floor", ["tui", "recordings", "tracers"])
def test_the_architecture_has_every_room_in_the_order_of_the_contract(floor: str) -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = next(
        each
        for each in configuration["tool"]["importlinter"]["contracts"]
        if each.get("containers") == [floor]
    )
    layers = [{room.strip() for room in layer.split("|")} for layer in contract["layers"]]
    wanted = [rooms for rooms in layers if rooms != {"__main__"}]
    page = (DOCS / "architecture.md").read_text()
    section = page.partition(f"\n### {floor}\n")[2].partition("\n#")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == wanted


# -- the reading of pages itself -----------------------------------------------------------------

MADE = """\
# What it `costs`, and why

[one](a.md) and ![two](pictures/b.svg), [three](<c.md>) but `[four](d.md)`, [web](https://example.org/e.md)

```text
[five](f.md)
```

[six]: g.md#part
"""


def test_links_are_read_but_for_code_and_the_web(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(MADE)
    assert links(page) == ["a.md", "pictures/b.svg", "c.md", "g.md#part"]
    assert linked(page) == {tmp_path / name for name in ("a.md", "pictures/b.svg", "c.md", "g.md")}
    assert anchors(page) == {"what-it-costs-and-why"}
