# SPDX-License-Identifier: GPL-2.0-only
"""Every source file of ours says its license, in its first line or right below its ``#!``."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).resolve().parents[2]
TAG: Final = "SPDX-License-Identifier: GPL-2.0-only"
#: The line, by the end of the file's name; scripts without one are known by their "#!".
LINES: Final = {
    ".bt": f"// {TAG}",
    ".c": f"// {TAG}",
    ".cjs": f"// {TAG}",
    ".py": f"# {TAG}",
    ".sh": f"# {TAG}",
    ".tcss": f"/* {TAG} */",
    "Makefile": f"# {TAG}",
}


def test_every_source_file_says_its_license() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git checkout: which files are ours is not known")
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    looked_at = set()
    for name in filter(None, done.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file():  # deleted, and not committed yet
            continue
        first, second = (*path.read_bytes()[:200].split(b"\n"), b"", b"")[:2]
        script = first.startswith(b"#!")
        kind = path.suffix or path.name
        if kind in LINES or script:
            line = LINES.get(kind, f"# {TAG}")
            assert (second if script else first) == line.encode(), f"{name}: {line}"
            looked_at.add(kind)
    assert looked_at >= set(LINES)
