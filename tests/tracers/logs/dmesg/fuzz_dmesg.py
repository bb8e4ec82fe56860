# SPDX-License-Identifier: GPL-2.0-only
"""Checks that must hold of the dmesg reader for any bytes, run by hypothesis or atheris.

``python -m tests.tracers.logs.dmesg.fuzz_dmesg CORPUS -max_total_time=600`` runs the latter (pip
install atheris; it is no dependency of the tests). An empty CORPUS is filled with real logs in
every format.

The first byte of an input says what is tried. Text: the rest is the log, also in a container; no
traceback, the same result however the stream is cut, and every start and end accepted are in the
text as the registers that the vmlinux names, of a range the kernel can pass, outside the window.
Made, torn: as ``fuzz_forms`` says.
"""

import io
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from tests.tracers.logs.dmesg import splat_texts as texts
from tracers.constants.image.kernel_image import open_kernel
from tracers.logs.containers.table import DEEPEST, recognise
from tracers.logs.dmesg.reader import DmesgLog
from tracers.logs.dmesg.registers import Arguments
from tracers.logs.kprobe_text.text_log import LogError
from tracers.window import Window

TESTS = Path(__file__).resolve().parents[3]
CAPTURES = TESTS / "captures/6.1.192-vmemlab-39bit"
VMLINUX = TESTS / "kernels/lab-6.1.192-39bit-4k.elf"
WINDOW = Window(
    texts.START,
    texts.END,
    va_bits=39,
    page_size=4096,
    struct_page=64,
    section_size_bits=27,
    memstart=0x40000000,
)
#: By DWARF, read with readelf: start; end, twice.
HELD = {"populate": (19, 1, 22), "free": (19, 1, 20)}
_COLOUR = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")
_VALUE = re.compile(rb"x(\d{1,2})[\s>|]*:[\s>|]+([0-9a-f]{16})")


@cache
def arguments() -> Arguments:
    """Return what the lab's 6.1 says of its WARNs."""
    return arguments_of(VMLINUX)


def arguments_of(vmlinux: Path) -> Arguments:
    """Return what a kernel says of its WARNs."""
    with open_kernel(vmlinux) as image:
        return Arguments.from_image(image)


def read(
    raw: bytes, *, vmlinux: bool = False, window: Window | None = WINDOW, block: int = 4 << 20
) -> tuple[list[dict[str, Any]], DmesgLog]:
    """Read a log; the batches' counts must add up to the log's."""
    log = DmesgLog(
        io.BytesIO(raw), arguments=arguments() if vmlinux else None, window=window, block=block
    )
    rows, missing = [], [0, 0, 0]
    for batch in log.batches():
        batch.events.validate(full=True)
        rows += batch.events.to_pylist()
        for at, name in enumerate(("lost_unknown", "torn", "rejected")):
            missing[at] += getattr(batch.losses, name)
    assert missing == [log.lost_unknown, log.torn, log.rejected]
    assert all(note.isprintable() and note.strip() for note in log.notes)
    return rows, log


def possible(start: int, end: int) -> bool:
    """Whether the lab's 6.1 can pass a range and warns of it, worked out page by page."""
    first, past = ((at - texts.START) % 2**64 for at in (start, end))
    first -= 2**64 if first >= 2**63 else 0
    past -= 2**64 if past > 2**63 else 0
    pages = (first / 64, past / 64)  # struct pages from the window's first
    whole = all(page == int(page) and page % 512 == 0 for page in pages)
    one = pages[0] // 0x8000 == (pages[1] - 1) // 0x8000
    return whole and one and first < past and (start < texts.START or end > texts.END)


def check_text(raw: bytes) -> None:
    """Read any bytes as a log, with and without a vmlinux."""
    for vmlinux in (True, False):
        try:
            rows, log = read(raw, vmlinux=vmlinux)
        except LogError:
            continue
        again, other = read(raw, vmlinux=vmlinux, block=777)
        assert again == rows
        assert other.notes == log.notes
        assert other.lines == log.lines
        plain = _COLOUR.sub(b"", raw)
        values_at = [(m.start(), int(m[1]), int(m[2], 16)) for m in _VALUE.finditer(plain)]
        for row in rows:
            if row["start"] is None:
                assert row["end"] is None
                continue
            start, end = row["start"], row["end"]
            if row["kind"] == "fault":
                assert {start, row["pfn"]} <= {v for _, _, v in values_at}
                assert (start - 0xFFFFFFFDFF000000 - row["pfn"] * 64) % 2**64 == 0
                assert (end, row["nr_pages"]) == ((start + 64) % 2**64, 1)
                continue
            assert row["kind"] in HELD
            assert possible(start, end)
            if vmlinux:
                first, *lasts = HELD[row["kind"]]
                values = {(n, v) for _, n, v in values_at}
                assert (first, start) in values
                assert all((last, end) in values for last in lasts)
            else:
                assert {start, end} <= {v for _, _, v in values_at}


def seeds() -> dict[str, bytes]:
    """Return real logs in every format, as inputs."""
    below = texts.stamped((CAPTURES / "below.dmesg.txt").read_bytes())
    found = {name: texts.prefixed(below, name) for name in texts.PREFIXES}
    found["two a line"] = texts.prefixed(texts.two_a_line(below), "dmesg")
    found["6.19"] = texts.prefixed(texts.as_6_19(below, b"[start < 1] "), "dmesg")
    found["wrapped"] = texts.wrapped(texts.prefixed(below, "mail"), 72, b"> ")
    found["console"] = (CAPTURES / "wrap.console.txt").read_bytes()[-9000:]
    return found


def check_contained(raw: bytes) -> None:
    """Read any bytes as a log in a container, in pieces of any size."""
    texts_in = [contained(raw, size) for size in (1 << 20, 7)]
    assert texts_in[0] == texts_in[1]
    check_text(texts_in[0])


def contained(raw: bytes, size: int = 1 << 20) -> bytes:
    """Return what is in the containers that ``raw`` is in, read by pieces of ``size``."""
    for _ in range(DEEPEST):
        container = recognise(raw)
        if container is None:
            break
        stream = container.open(io.BytesIO(raw))
        raw = b"".join(iter(lambda stream=stream: stream.read1(size), b""))
    return raw


def main() -> None:
    """Run atheris."""
    import atheris  # noqa: PLC0415

    from tests.tracers.logs.dmesg.fuzz_forms import CHECKS  # noqa: PLC0415 (it imports this file)

    corpus = Path(sys.argv[1])
    corpus.mkdir(exist_ok=True)
    if not any(corpus.iterdir()):
        for number, log in enumerate(seeds().values()):
            (corpus / f"seed-{number}").write_bytes(b"\0" + log)
        for kind in range(1, len(CHECKS)):
            (corpus / f"seed-made-{kind}").write_bytes(bytes([kind, *range(200)]))

    def once(data: bytes) -> None:
        CHECKS[(data or b"\0")[0] % len(CHECKS)](data[1:])

    atheris.instrument_all()
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
