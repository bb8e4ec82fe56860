# SPDX-License-Identifier: GPL-2.0-only
"""Helpers for the tests of text importers: captures, rows, and the kernel's own trace.

``truth`` reads what a second tracefs instance saw of the same moments (tests/lab/guest/lib.sh), one
line at a time and with nothing of vmemscope's.
"""

import lzma
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from hypothesis import strategies as st

from tracers.events import SCHEMA
from tracers.logs.kprobe_text.text_log import LogError

LAB = "6.1.192-vmemlab-39bit"
LAB_612 = "6.12.117-vmemlab-48bit"
MISSING = ("lost", "lost_unknown", "torn", "rejected")
ARGUMENTS = ("start", "end", "pfn", "nr_pages", "ret", "line")

_TRUTH = re.compile(
    rb"^\s*(?P<comm>.{1,16})-(?P<tid>\d+)\s+\[(?P<cpu>\d+)\]\s+\S+\s+(?P<s>\d+)\.(?P<us>\d{6}): "
    rb"(?P<name>\w+): \(.*?\)(?P<rest>.*)$"
)


def raw(folder: Path, name: str) -> bytes:
    """The bytes of a capture; ``.xz`` is found and unpacked."""
    packed = folder / f"{name}.xz"
    return (
        lzma.decompress(packed.read_bytes()) if packed.is_file() else (folder / name).read_bytes()
    )


def read(log) -> tuple[list[dict], dict[str, int]]:
    """All rows of a log, and what it says is missing."""
    rows, missing = [], dict.fromkeys(MISSING, 0)
    for batch in log.batches():
        batch.events.validate(full=True)
        assert batch.events.schema == SCHEMA
        rows += batch.events.to_pylist()
        for name in MISSING:
            missing[name] += getattr(batch.losses, name)
    return rows, {name: count for name, count in missing.items() if count}


def truth(text: bytes) -> list[tuple]:
    """(kind, exit?, tid, {argument: value}) of each event of the truth."""
    calls = []
    for line in text.splitlines():
        if found := _TRUTH.match(line):
            name = found["name"].decode()
            values = dict(word.split("=", 1) for word in found["rest"].decode().split())
            arguments = {key: int(value, 0) for key, value in values.items()}
            calls.append(
                (name.removesuffix("_ret"), name.endswith("_ret"), int(found["tid"]), arguments)
            )
    assert calls
    return calls


def like_truth(rows: Iterable[dict], calls: list[tuple]) -> list[tuple]:
    """The rows of the kinds that the truth has, in its form."""
    there = {(kind, exits): set(arguments) for kind, exits, _, arguments in calls}
    like = []
    for row in rows:
        key = row["kind"], row["phase"] == "exit"
        if key in there:
            like.append((*key, row["tid"], {name: row[name] for name in there[key]}))
    return like


def counted(rows: Iterable[dict]) -> dict[tuple[str, str], int]:
    """How many rows of each kind and phase."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        counts[row["kind"], row["phase"]] = counts.get((row["kind"], row["phase"]), 0) + 1
    return counts


def numbers(text: bytes) -> set[int]:
    """Every number that stands in a text by itself, modulo 2^64."""
    words = re.findall(rb"(?<![0-9A-Za-z_.])(?:0x[0-9a-f]+|-?[0-9]+)(?![0-9A-Za-z_])", text)
    return {int(word, 16 if word.startswith(b"0x") else 10) % (1 << 64) for word in words}


def assert_nothing_invented(rows: Iterable[dict], text: bytes) -> None:
    """Every argument of every row stands in the text, whole."""
    there = numbers(text)
    low = {number % (1 << 32) for number in there}  # ints: the register's upper half
    for row in rows:
        for name in ("start", "end", "pfn", "nr_pages"):
            assert row[name] is None or row[name] in there, (name, row)
        for name in ("ret", "nid", "line"):
            assert row[name] is None or row[name] % (1 << 32) in low, (name, row)


def mutated(text: bytes) -> st.SearchStrategy[bytes]:
    """A real log, damaged in up to 8 positions as disks, terminals, editors and mailers do."""
    size = len(text)
    positions = st.integers(0, size)
    piece = st.one_of(
        st.binary(max_size=12),
        st.sampled_from([b"\r\n", *(b"%c" % byte for byte in b'\n =\"():\\\0-x')]),
        st.tuples(positions, st.integers(0, 200)).map(lambda cut: text[cut[0] : cut[0] + cut[1]]),
    )  # fmt: skip
    edit = st.tuples(positions, st.integers(0, 80), piece)

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = text
        for at, removed, put in edits:
            changed = changed[:at] + put + changed[at + removed :]
        return changed

    return st.lists(edit, min_size=1, max_size=8).map(apply)


def one_of_each(text: bytes, *words: bytes) -> bytes:
    """The first line that holds each of the words: cutting at every byte takes long."""
    lines = text.splitlines(keepends=True)
    return b"".join(next(line for line in lines if word in line) for word in words)


def cuts_tell_no_lies(text: bytes, open_log: Callable[[bytes], object]) -> None:
    """Cut at every byte, the rows are the first of those of the whole, and the cut is counted."""
    rows, _ = read(open_log(text))
    for size in range(len(text)):
        part = text[:size]
        try:
            found, missing = read(open_log(part))
        except LogError:  # too short to be recognised
            continue
        assert found == rows[: len(found)]
        assert missing.get("torn", 0) == (part != b"" and not part.endswith(b"\n"))
        assert not missing.get("rejected")
