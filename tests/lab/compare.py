# SPDX-License-Identifier: GPL-2.0-only
"""Compares our recording of a scene with the kernel's own trace of it, call by call."""

from collections.abc import Sequence
from typing import Any, Final

from tests.lab.harness import Boot, Call, Recording

#: Pages of a section, bytes of its struct pages: 128 MiB of 4 KiB pages, 64 bytes each.
SECTION_PAGES: Final = 32768
SECTION_BYTES: Final = SECTION_PAGES * 64

_ARGUMENTS: Final = {
    "memremap": (),
    "memunmap": (),
    "add_pages": ("pfn", "nr_pages"),
    "remove_pages": ("pfn", "nr_pages"),
    "section_add": ("pfn", "nr_pages"),
    "populate": ("start", "end"),
    "free": ("start", "end"),
}


def same_calls(boot: Boot, scene: str) -> Recording:
    """Assert that a scene's recording is the kernel's own trace of it; return the recording.

    Nothing lost; every kind of call that the trace has probes for is there as often, by the same
    threads, on the same CPUs, with the same arguments, in the same order; every free has an end,
    what was populated is what was freed, and WARNs are as many as the kernel counted.
    """
    truth, ours = boot.truth(scene), boot.recording(scene)
    assert ours.lost() == 0
    assert ours.closing is not None
    assert ours.closing["rows"] == len(ours.rows)
    probed = boot.text(f"{scene}.profile").split()
    for kind, names in _ARGUMENTS.items():
        rows = _starts(ours, kind)
        if kind in probed and not (kind == "section_add" and not rows):  # as on rung derived
            expected = [_call(call, names) for call in truth if call.name == kind]
            assert [_row(row, names) for row in _sorted(rows)] == expected, kind
    ends = [call for call in truth if call.name == "free_ret"]
    assert len(ours.of("free", "exit")) == len(ends)
    freed = sorted((call.args["start"], call.args["end"]) for call in truth if call.name == "free")
    populated = _starts(ours, "populate")
    assert sorted((row["start"], row["end"]) for row in populated) == freed
    lines = [call.args["line"] for call in truth if call.name == "warn"]
    assert [row["line"] for row in _sorted(ours.of("warn"))] == lines
    assert len(lines) == boot.warns(scene)
    assert len(ours.of("warn", "exit")) == len(lines)
    return ours


def sections(ours: Recording, source: str) -> list[tuple[int, int]]:
    """Assert how sections were seen, each inside its add_pages; return (pfn, nr_pages) of all."""
    begun, ended = _sorted(ours.of("section_add")), _sorted(ours.of("section_add", "exit"))
    assert {row["source"] for row in begun} == {source}
    assert len(ended) == len(begun)
    assert {row["ret"] for row in ended} == {0}
    spans = list(
        zip(_sorted(ours.of("add_pages")), _sorted(ours.of("add_pages", "exit")), strict=True)
    )
    for first, last in zip(begun, ended, strict=True):
        assert first["tid"] == last["tid"]
        assert any(
            start["tid"] == first["tid"]
            and start["ts_ns"] <= first["ts_ns"] <= last["ts_ns"] <= end["ts_ns"]
            for start, end in spans
        )
    return [(row["pfn"], row["nr_pages"]) for row in begun]


def left_nothing(boot: Boot, scene: str) -> None:
    """Assert that no probe, trace instance or BPF program outlived a scene."""
    assert boot.text(f"{scene}.left").strip() == ""


def _starts(ours: Recording, kind: str) -> list[dict[str, Any]]:
    return [row for row in ours.of(kind, None) if row["phase"] != "exit"]  # derived ones: points


def _sorted(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["ts_ns"])


def _call(call: Call, names: Sequence[str]) -> tuple[int, ...]:
    return (call.tid, call.cpu, *(call.args[name] for name in names))


def _row(row: dict[str, Any], names: Sequence[str]) -> tuple[int, ...]:
    return (row["tid"], row["cpu"], *(row[name] for name in names))
