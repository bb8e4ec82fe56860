# SPDX-License-Identifier: GPL-2.0-only
"""What a bug report holds for us: logs, recordings, and the files that describe its machine.

Promises: members are read once, in their order, in flat memory; a name alone decides nothing: a
side file must look like what it is called, and a log like a log; what should have been read and
could not is a problem, so that no verdict is clean without it. Every list has a budget, and what
is beyond it is a problem.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from recordings.format.framing import MARKER
from recordings.triage import names
from recordings.triage.content import HEAD, Content
from recordings.triage.members import DamagedArchiveError, Member, PassedOver
from recordings.triage.pstore import Records
from recordings.triage.workplace import Workplace
from recordings.wording.escape import printable
from recordings.wording.units import count
from tracers.constants.core_file import looks_like_core
from tracers.logs import formats
from tracers.machine_files import CAPS
from tracers.packed import PackedError

#: Logs that are read, side files that are kept.
MOST_LOGS: Final = 64
MOST_SIDES: Final = 256
MOST_CORES: Final = 8
#: Files without a name of ours whose beginning is looked at, and how much of it.
MOST_LOOKS: Final = 20_000
_LOOK: Final = 16 << 10
_KPROBE_EVENTS: Final = 1 << 20
#: What people call a log that they saved.
_SUFFIX: Final = re.compile(
    r"(?:/|^)[^./][^./]*$|\.(?:txt|log|dat|trace|out|jsonl?|eml|mbox|arrows|part\d{6}|\d+)"
    r"(?:\.(?:gz|xz|zst))?$"
)
#: Where a sosreport has thousands of files and no log: programs, settings, kernel interfaces.
_NO_LOGS: Final = re.compile(r"(?:^|/)(?:etc|usr|lib|proc|sys|sos_reports)/")
_KERNELS: Final = re.compile(rb"\A(?:KDUMP   |makedumpfile)|VMCOREINFO\0")
#: What a side file must have in its beginning.
_LOOKS: Final = {
    names.VMCOREINFO: re.compile(
        rb"^(?:OSRELEASE|PAGESIZE|BUILD-ID|SYMBOL\(|NUMBER\()", re.MULTILINE
    ),
    names.IOMEM: re.compile(rb"^ *[0-9a-f]{8,16}-[0-9a-f]{8,16} : ", re.MULTILINE),
    names.CONFIG: re.compile(rb"^(?:# )?CONFIG_\w+(?:=| is not set)", re.MULTILINE),
    names.UNAME: re.compile(rb"\A\s*(?:Linux |\d+\.\d+)"),
    names.PAGE_TABLES: re.compile(rb"^(?:---\[ |0x[0-9a-f]{16}-0x)", re.MULTILINE),
    names.KPROBE_EVENTS: re.compile(rb"^[pr]\d*:", re.MULTILINE),
}


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log: its name in the report, where it can be read, its format if the name decides."""

    name: str
    path: Path
    log_format: str | None
    named: bool  # by its name it is one: that it cannot be read is a problem


@dataclass(frozen=True, slots=True)
class SideFile:
    """A file that describes the machine whose folder is ``root``."""

    role: str
    name: str
    root: str
    path: Path


@dataclass(slots=True)
class Bundle:
    """What was found."""

    logs: list[LogFile] = field(default_factory=list)
    cores: list[tuple[str, Path]] = field(default_factory=list)  # dumps of a kernel's memory
    recordings: list[tuple[str, Path]] = field(default_factory=list)
    sides: list[SideFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # what should have been read
    remarks: list[str] = field(default_factory=list)


def collect(members: Iterable[Member], passed: PassedOver, place: Workplace) -> Bundle:
    """Go through the members of a report; ``passed``: what they came with."""
    collector = _Collector(place)
    for member in members:
        collector.take(member)
    found = collector.done()
    found.problems += passed.problems
    found.remarks += passed.remarks()
    return found


class _Collector:
    """Takes one member after the other."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._found = Bundle()
        self._records = Records()
        self._looks = 0
        self._beyond = 0  # logs

    def take(self, member: Member) -> None:
        """Keep what is of use in a member; what cannot be read is named."""
        known = names.known(member.name)
        if known is None and not self._worth_a_look(member.name):
            return
        try:
            content = Content(member.read)
            if known is None:
                self._unknown(member, content)
            elif known.role == names.PSTORE:
                self._records.add(member.name, content)
            elif known.role == names.CORE:
                self._core(member, content)
            elif known.role in names.LOGS:
                self._log(member, content, known.role)
            else:
                self._side(member, content, known)
        except (PackedError, DamagedArchiveError, OSError, ValueError) as error:
            if known is not None:
                text = getattr(error, "strerror", None) or error
                self._found.problems.append(f"{printable(member.name)}: {text}")

    def done(self) -> Bundle:
        """Return what was found."""
        for name, pieces, size in self._records.dumps():
            path = self._place.spool(pieces, name, partial(int, size))
            self._found.logs.append(LogFile(name, path, "dmesg", named=True))
        self._found.problems += self._records.problems
        if self._beyond:
            self._found.problems.append(
                f"{count(self._beyond)} logs beyond the first {MOST_LOGS} were not read"
            )
        if self._looks > MOST_LOOKS:
            more = count(self._looks - MOST_LOOKS)
            self._found.remarks.append(f"{more} files without a log's name were not looked at")
        return self._found

    def _worth_a_look(self, name: str) -> bool:
        if not _SUFFIX.search(name) or _NO_LOGS.search(name):
            return False
        self._looks += 1
        return self._looks <= MOST_LOOKS

    def _unknown(self, member: Member, content: Content) -> None:
        head = content.peek(_LOOK)
        if head.startswith(MARKER):
            self._recording(member, content)
        elif looks_like_core(head):
            # Processes leave core files, too.
            if _KERNELS.search(head):
                self._core(member, content)
            else:
                name = printable(member.name)
                remark = f"{name}: a core file that is not known to be a kernel's: not read"
                self._found.remarks.append(remark)
        elif (known := formats.recognise(head)) is not None:
            self._keep(member, content, known.name, named=False)

    def _core(self, member: Member, content: Content) -> None:
        if not looks_like_core(content.peek(HEAD)):
            return  # another program's
        if member.path is None or content.packed:
            text = "a dump of memory that is packed, or in an archive, is not read: unpack it first"
            self._found.problems.append(f"{printable(member.name)}: {text}")
        elif len(self._found.cores) >= MOST_CORES:
            text = f"more than {MOST_CORES} dumps of memory: not read"
            self._found.problems.append(f"{printable(member.name)}: {text}")
        else:
            self._found.cores.append((member.name, member.path))

    def _log(self, member: Member, content: Content, role: str) -> None:
        head = content.peek(HEAD)
        if not head:
            return  # such as an empty /var/log/dmesg
        known = formats.recognise(head)
        if known is None and (role == names.TRACE or not _is_text(head)):
            return  # a trace that nobody switched on; a journal's own file
        self._keep(member, content, known.name if known else "dmesg", named=known is not None)

    def _keep(self, member: Member, content: Content, log_format: str, *, named: bool) -> None:
        if len(self._found.logs) >= MOST_LOGS:
            self._beyond += 1
            return
        path = member.path or self._spooled(member, content)
        self._found.logs.append(LogFile(member.name, path, log_format, named))

    def _recording(self, member: Member, content: Content) -> None:
        if len(self._found.recordings) >= MOST_LOGS:
            self._beyond += 1
            return
        path = member.path or self._spooled(member, content)
        self._found.recordings.append((member.name, path))

    def _spooled(self, member: Member, content: Content) -> Path:
        path = self._place.spool(content.pieces(), member.name, lambda: content.given)
        if content.torn:
            self._found.problems.append(f"{printable(member.name)}: damaged or cut short")
        return path

    def _side(self, member: Member, content: Content, known: names.Known) -> None:
        cap = CAPS.get(known.role, _KPROBE_EVENTS)
        if not _LOOKS[known.role].search(content.peek(HEAD)):
            return  # another program's "config"
        if len(self._found.sides) >= MOST_SIDES:
            text = f"{printable(member.name)}: more than {MOST_SIDES} such files: not read"
            self._found.problems.append(text)
            return
        # One byte more, so that its reader says that it is cut.
        data = content.most(cap + 1)
        path = self._place.spool([data], member.name, lambda: len(data))
        self._found.sides.append(SideFile(known.role, member.name, known.root, path))


def _is_text(head: bytes) -> bool:
    return b"\0" not in head[:1024]
