# SPDX-License-Identifier: GPL-2.0-only
"""How a place in the kernel's code is printed, and the call chains made of such places.

Promises: every form is one row of ``FORMS``, and both a place and a frame are read by it; a chain
is read to its end, or ends in "…"; names are the kernel's, ASCII and printable.

Sources: lib/vsprintf.c (%pS), arch/arm64/kernel/stacktrace.c (dump_backtrace_entry; marks such as
"(P)": 6.13, commit c2c6b27b5aa1), scripts/decode_stacktrace.sh, and syzkaller's
pkg/symbolizer and pkg/report, which put file and line behind.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

_NAME: Final = rb"[A-Za-z_.$][\w.$]{0,511}"
_MODULE: Final = rb"\s?\[[\w.-]{1,64}(?:\s[0-9a-f]{1,40})?(?:\([A-Z+-]{1,20}\))?\]"
_FILE: Final = rb"[\w./+-]{1,255}:\d{1,7}"


@dataclass(frozen=True, slots=True)
class Form:
    """One way to print a place; ``pattern``'s groups are numbered when it is put to use."""

    name: str
    source: str
    pattern: bytes  # groups: name; offset and size, or where


FORMS: Final = (
    Form(
        "function+offset/size",
        "the kernel's %pS",
        rb"(?P<function>" + _NAME + rb")\+0x(?P<offset>[0-9a-f]{1,8})/0x(?P<size>[0-9a-f]{1,8})"
        rb"(?:\(\))?(?P<module>" + _MODULE + rb")?(?:\s" + _FILE + rb"(?![\w.])(?!\s\[inline\]))?",
    ),
    Form(
        "function (file:line)",
        "scripts/decode_stacktrace.sh",
        rb"(?P<decoded>" + _NAME + rb")\s(?P<where>\((?:[^()\s]{1,255}:(?:\d{1,7}|\?)"
        rb"(?:\s\(discriminator\s\d{1,5}\))?\s{0,2}){1,16}\))"
        rb"(?P<owner>" + _MODULE + rb"|\s[A-Za-z]\w{0,63}(?=\n|\Z))?",
    ),
)
#: A place, in any form. ``place_of`` reads what it found.
PLACE: Final = rb"(?:" + rb"|".join(form.pattern for form in FORMS) + rb")"
_PLACE: Final = re.compile(PLACE)
#: A function that the compiler made part of its caller, as syzkaller prints it.
_INLINE: Final = rb"(?P<inline>" + _NAME + rb")\s" + _FILE + rb"\s\[inline\]"
_FRAME: Final = re.compile(
    rb"[ \t]*(?:\[<[0-9a-f]{8,16}>\] )?(?:\? )?(?:" + _INLINE + rb"|" + PLACE + rb")"
)
_SUFFIX: Final = re.compile(rb"(?:\.(?:isra|constprop|part|cold|llvm|lto_priv)(?:\.\d+)?)+\Z")
_SHOWN: Final = 8  # frames of a chain; the rest is how the kernel was entered
_MOST: Final = 256  # frames


class Place(NamedTuple):
    """A place in the kernel's code, with as much of it as the form has."""

    function: bytes
    offset: int = 0
    size: int = 0
    where: bytes | None = None  # "(file:line)" in place of offset and size
    module: bool = False

    @property
    def text(self) -> str:
        """As it is told to people: "function+0x2c", or "function (file:line)"."""
        function = self.function.decode("ascii")
        if self.where is None:
            return f"{function}+0x{self.offset:x}"
        return f"{function} {self.where.decode('utf-8', 'backslashreplace')}"

    @property
    def name(self) -> str:
        """The function's name, without what a compiler adds to it."""
        return bare(self.function)


class Frame(NamedTuple):
    """One line of a call chain."""

    name: str  # with a compiler's suffix
    place: Place | None = None  # None: of a function that is part of its caller
    module: str = ""  # " [module]"


def bare(function: bytes) -> str:
    """Return a function's name without a compiler's suffix, such as ".constprop.0"."""
    return _SUFFIX.sub(b"", function).decode("ascii")


def place_of(found: re.Match[bytes]) -> Place | None:
    """Return what ``PLACE`` matched; None if that part of the pattern did not."""
    if found["function"] is not None:
        offset, size = int(found["offset"], 16), int(found["size"], 16)
        return Place(found["function"], offset, size, module=found["module"] is not None)
    if found["decoded"] is not None:
        where = b" ".join(found["where"].split())
        return Place(found["decoded"], where=where, module=found["owner"] is not None)
    return None


def place_at(text: bytes, start: int) -> Place | None:
    """Return the place printed at ``start``."""
    found = _PLACE.match(text, start)
    return place_of(found) if found else None


def read_frame(line: bytes, start: int = 0) -> tuple[Frame, int] | None:
    """Return the frame at ``start`` of a text, and where it ends; None if there is none."""
    found = _FRAME.match(line, start)
    if found is None:
        return None
    if found["inline"] is not None:
        return Frame(found["inline"].decode("ascii")), found.end()
    place = place_of(found) or Place(b"")
    owner = re.search(rb"\w[\w-]*", found["module"] or found["owner"] or b"")
    module = f" [{owner[0].decode('ascii')}]" if owner else ""
    return Frame(place.function.decode("ascii"), place, module), found.end()


def frames_of(text: bytes) -> tuple[tuple[Frame, ...], bool]:
    """Return the frames at the beginning of ``text``, one a line, and whether they end there.

    They do not where another frame seems to follow that cannot be read.
    """
    frames: list[Frame] = []
    at = 0
    while at < len(text) and len(frames) < _MOST and (found := read_frame(text, at)):
        frames.append(found[0])
        newline = text.find(b"\n", found[1])
        at = len(text) if newline < 0 else newline + 1
    return tuple(frames), not (len(frames) == _MOST or text[at : at + 1] == b" ")


def chain_of(frames: tuple[Frame, ...], *, whole: bool = True) -> str | None:
    """Return "callee <- caller <- …" of the first frames; None without any."""
    if not frames:
        return None
    shown = [
        frame.name + (frame.module if frame.place else " [inline]") for frame in frames[:_SHOWN]
    ]
    return " <- ".join(shown if whole and len(frames) <= _SHOWN else [*shown, "…"])
