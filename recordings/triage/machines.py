# SPDX-License-Identifier: GPL-2.0-only
"""The machine that a log is of, among the side files of a bug report.

Promises: side files of two machines are never mixed: if anything is there twice and differs, only
the files of the innermost folder that a log lies in are its machine's; of several configurations
the one named after the release is taken, else none.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from recordings.triage import names
from recordings.triage.bundle import SideFile
from recordings.triage.workplace import Workplace
from recordings.wording.escape import printable
from recordings.wording.units import count
from tracers.machine_files import CAPS, read_notes, read_uname
from tracers.regular_files import read_regular

_SMALL: Final = 1 << 20


class Machines:
    """The machines of one report."""

    def __init__(self, sides: Sequence[SideFile], place: Workplace) -> None:
        self._remarks: list[str] = []
        self._homeless: list[str] = []  # logs
        self._place = place
        by_root: dict[str, dict[str, SideFile]] = {}
        for root in dict.fromkeys(side.root for side in sides):
            own = [side for side in sides if side.root == root]
            by_root[root] = self._chosen(own)
        self._by_root = self._merged(by_root)
        self._made: dict[str, Path] = {}

    def of(self, name: str) -> tuple[Path | None, tuple[str, ...]]:
        """Return the folder with the side files for a log, and what they are called."""
        if set(self._by_root) == {""}:
            root: str | None = ""
        else:
            roots = (root for root in self._by_root if name.startswith(root))
            root = max(roots, key=len, default=None)
        if root is None:
            if self._by_root:
                self._homeless.append(printable(name))
            return None, ()
        files = self._by_root[root]
        return self._folder(root, files), tuple(sorted(side.name for side in files.values()))

    def _folder(self, root: str, files: dict[str, SideFile]) -> Path:
        """Make a folder as ``tracers.machine_files`` wants it, once."""
        if root not in self._made:
            folder = self._place.new("machine")
            folder.mkdir()
            for role, side in files.items():
                shutil.copyfile(side.path, folder / role)
            self._made[root] = folder
        return self._made[root]

    def _chosen(self, own: Sequence[SideFile]) -> dict[str, SideFile]:
        """Return one file a role: of a folder's own the one that its tool writes."""
        files: dict[str, SideFile] = {}
        for side in sorted(own, key=lambda side: side.name.endswith("/version")):
            files.setdefault(side.role, side)
        configs = [side for side in own if side.role == names.CONFIG]
        if len({_content(side) for side in configs}) > 1:
            release = _release(files)
            fitting = [side for side in configs if release and side.name.endswith(f"-{release}")]
            if len(fitting) == 1:
                files[names.CONFIG] = fitting[0]
            else:
                del files[names.CONFIG]
                listed = ", ".join(printable(side.name) for side in configs[:3])
                self._remarks.append(
                    f"several configurations, and none is known to be its own: {listed}"
                )
        return files

    def _merged(self, by_root: dict[str, dict[str, SideFile]]) -> dict[str, dict[str, SideFile]]:
        """Return one machine, unless something is there twice and differs."""
        # kprobe_events alone describe no machine.
        by_root = {root: files for root, files in by_root.items() if CAPS.keys() & files.keys()}
        together: dict[str, SideFile] = {}
        for files in by_root.values():
            for role, side in files.items():
                there = together.setdefault(role, side)
                if there is not side and _content(there) != _content(side):
                    return by_root
        return {"": together} if together else {}

    def remarks(self) -> Iterator[str]:
        """Say what was not used, and why."""
        yield from self._remarks
        if self._homeless:
            more = len(self._homeless) - 1
            others = f" and of {count(more)} more" if more else ""
            yield (
                f"files of {count(len(self._by_root))} machines are in it: which is that of"
                f" {self._homeless[0]}{others} is not known; --machine says it"
            )


def _content(side: SideFile) -> object:
    """Return what tells two files of one role apart: of a uname its release."""
    data = read_regular(side.path, _SMALL)
    return read_uname(data.decode("utf-8", "replace"))[0] if side.role == names.UNAME else data


def _release(files: dict[str, SideFile]) -> str | None:
    if side := files.get(names.VMCOREINFO):
        text = read_regular(side.path, _SMALL).decode("utf-8", "replace")
        if release := read_notes(text, []).get("OSRELEASE"):
            return release
    if side := files.get(names.UNAME):
        text = read_regular(side.path, _SMALL).decode("utf-8", "replace")
        return read_uname(text)[0]
    return None
