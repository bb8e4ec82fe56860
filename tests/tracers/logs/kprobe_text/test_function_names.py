# SPDX-License-Identifier: GPL-2.0-only
"""Finding the function for a bare address or a probe's name."""

import pyarrow as pa
import pytest

from tracers import arrow
from tracers.kernel_functions import KINDS
from tracers.logs.kprobe_text.definitions import ProbeLocation
from tracers.logs.kprobe_text.function_names import FunctionNames

FUNCTIONS = tuple(KINDS)
SIDES = ("entry", "exit", "midway", "foreign", "unreadable")
FREE = 0xFFFFFFC008028690


def identified(names: FunctionNames, *pieces: bytes) -> list[tuple[str | None, str]]:
    function, side = names.identify(arrow.strings(pieces, pa.binary()))
    return [
        (FUNCTIONS[index] if index >= 0 else None, SIDES[at])
        for index, at in zip(function, side, strict=True)
    ]


@pytest.mark.parametrize(
    ("piece", "function", "side"),
    [
        (b"vmemmap_free:         (ffffffc008028690)", "vmemmap_free", "entry"),
        (b"vmemmap_free_ret:     (ffffffc008028690 <- ffffffc008212d84)", "vmemmap_free", "exit"),
        (b"warn:                 (ffffffc008034400)", "__warn", "entry"),
        (b"     probe:__warn__return: (ffffffc008034400 <- ffffffc00867e520)", "__warn", "exit"),
        (b"kprobes:p___add_pages_0: (fff0000000000000)", "__add_pages", "entry"),
        (b"vmemmap_free: (fffefffffffffff)", None, "foreign"),  # 15 digits: no kernel address
        (b"vmemmap_free: (0xffffffc008028690)", None, "unreadable"),
        (b"vmemmap_free: (ffffffc008028690", None, "unreadable"),
        (b"x: (ffffffc008028690)", None, "foreign"),
        (b"85 [000]     5.3: kprobes:vmemmap_free: (ffffffc008028690)", None, "unreadable"),
        (b"\xff: (ffffffc008028690)", None, "unreadable"),
    ],
)
def test_by_name_alone(piece: bytes, function: str | None, side: str):
    names = FunctionNames()
    assert identified(names, piece) == [(function, side)]
    assert bool(names.notes) == (function is not None)


def test_symbols_decide_over_names():
    names = FunctionNames({"inside": ProbeLocation("vmemmap_free", 8)}, {FREE: "vmemmap_free"})
    assert identified(
        names,
        b"warn: (ffffffc008028690)",
        b"x_ret: (ffffffc008028690 <- ffffffc008212d84)",
        b"vmemmap_free: (ffffffc008028698)",
        b"inside: (ffffffc008028698)",
    ) == [
        ("vmemmap_free", "entry"), ("vmemmap_free", "exit"), (None, "foreign"),
        ("vmemmap_free", "midway"),
    ]  # fmt: skip
    assert names.notes == ()


def test_kprobe_events_decide_over_names():
    names = FunctionNames(
        {
            "a": ProbeLocation("vmemmap_free"),
            "warn": ProbeLocation("other"),
            "b": ProbeLocation("__warn", 4),
        }
    )
    assert identified(
        names,
        b"a: (ffffffc008028690)",
        b"warn: (ffffffc008028690)",
        b"b: (ffffffc008028690)",
        b"__warn: (ffffffc008028690)",
    ) == [("vmemmap_free", "entry"), (None, "foreign"), ("__warn", "midway"), ("__warn", "entry")]
    assert names.notes
    assert "|a|" in f"|{names.pattern}|"


def test_a_static_functions_suffix_is_no_other_function():
    names = FunctionNames({"x": ProbeLocation("section_deactivate.isra.0")})
    assert identified(names, b"x: (ffffffc008028690)") == [("section_deactivate", "entry")]
