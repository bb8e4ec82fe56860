# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel log tells of its machine before it is read: the words of its Oopses.

An Oops says the release, the page size, how many bits of addresses are in use, and a physical
address that is RAM; its registers give vmemmap (``oopses.vmemmap_told``). Without one there is the
release, of the banner or of a WARN.
Promises: one pass that searches and does not split; of several kernels' Oopses those of the first
one's release; nothing is made up: what does not fit together is for ``tracers.machine`` to say.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tracers.evidence import BETWEEN, PFN, RAM, VMEMMAP
from tracers.logs.dmesg.architectures import ARM64, architecture_of
from tracers.logs.dmesg.oopses import Oops, parse, vmemmap_told
from tracers.logs.dmesg.reports import BANNER, ReportAssembler, ReportKind
from tracers.logs.dmesg.splats import THREAD

ORIGIN: Final = "the log's Oops"
LOG: Final = "the log"
_BEGINS: Final = b"Unable to handle kernel"
_BEFORE: Final = 256  # bytes of its first line before that
_LONGEST: Final = 32 << 10  # bytes of an Oops
_MOST: Final = 16  # Oopses
#: What a line has that names a release, and the line.
_NAMES_IT: Final = {b"Linux version ": BANNER, b" Comm: ": THREAD}


@dataclass(frozen=True, slots=True)
class Told:
    """The release and facts as ``tracers.machine.assemble`` takes them."""

    release: tuple[str, str] | None = None  # (origin, release)
    facts: Mapping[str, list[tuple[str, int]]] = field(default_factory=dict)  # (origin, value)s


def told_by(pieces: Iterable[bytes]) -> Told:
    """Return what the log that comes in ``pieces`` tells."""
    release: str | None = None
    facts: dict[str, list[tuple[str, int]]] = {}
    names = _Releases(pieces)
    for oops in _oopses(names):
        own = oops.thread.release if oops.thread else None
        if own is None or own != (release := release or own):
            continue
        for name, value in _facts(oops):
            known = facts.setdefault(name, [])
            if (ORIGIN, value) not in known:
                known.append((ORIGIN, value))
    if release is not None:
        return Told((ORIGIN, release), facts)
    return Told(None if names.first is None else (LOG, names.first))


class _Releases:
    """The pieces, and the first release named in them."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.first: str | None = None
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for piece in self._pieces:
            if self.first is None:
                data = rest + piece
                self.first = _release_in(data)
                rest = data[-_BEFORE:]
            yield piece


def _release_in(data: bytes) -> str | None:
    """Return the first release of a banner or of a report in ``data``."""
    places = {}
    for name, pattern in _NAMES_IT.items():
        at = 0
        while (at := data.find(name, at)) >= 0:
            if found := pattern.search(data, max(0, at - _BEFORE), at + _BEFORE):
                places[found.start("release")] = found["release"].decode("ascii")
                break
            at += 1
    return places[min(places)] if places else None


def _facts(oops: Oops) -> Iterator[tuple[str, int]]:
    values = (
        ("page_size", oops.page_size),
        ("vabits_actual", oops.bits),
        (RAM, oops.ram),
        (BETWEEN, oops.between),
    )
    yield from ((name, value) for name, value in values if value is not None)
    if (found := vmemmap_told(oops)) is not None:
        yield VMEMMAP, found[0]
        yield PFN, found[1]


def _oopses(pieces: Iterable[bytes]) -> Iterator[Oops]:
    """Yield the first arm64 Oopses."""
    for _, text in zip(range(_MOST), _texts(pieces), strict=False):
        assembler = ReportAssembler()
        for line in text.replace(b"\r", b"\n").split(b"\n"):
            assembler.line(line)
            if assembler.done:
                break
        else:
            assembler.close()
        for report in assembler.done[:1]:
            ours = architecture_of(report.text) in (None, ARM64)
            if report.kind is ReportKind.OOPS and ours and not report.mixed:
                yield parse(report.text)


def _texts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the text from the beginning of each Oops on."""
    data = b""
    for piece in pieces:
        data += piece
        at = 0
        while (hit := data.find(_BEGINS, at)) >= 0 and hit + _LONGEST <= len(data):
            yield _from(data, hit)
            at = hit + len(_BEGINS)
        data = data[max(at, (hit if hit >= 0 else len(data)) - _BEFORE) :]
    at = 0
    while (hit := data.find(_BEGINS, at)) >= 0:
        yield _from(data, hit)
        at = hit + len(_BEGINS)


def _from(data: bytes, hit: int) -> bytes:
    start = max(data.rfind(b"\n", max(0, hit - _BEFORE), hit) + 1, hit - _BEFORE, 0)
    return data[start : hit + _LONGEST]
