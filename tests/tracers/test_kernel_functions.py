# SPDX-License-Identifier: GPL-2.0-only
"""Everything else that names the watched functions, held against the one table."""

import re
from pathlib import Path

import pytest

from tracers.events import SCHEMA, Kind
from tracers.kernel_functions import CHECKED, COLUMNS, KINDS, ON_THE_WAY, REQUESTS, TABLE, name
from tracers.logs.kprobe_text import bpftrace

ROWS = {function: row for row in TABLE for function in row.functions}
#: Not to be had by registers alone: its parameters moved between releases.
MOVED = set(next(row for row in TABLE if not row.fixed).functions)
RECIPE = Path(__file__).parents[2] / "docs" / "capture-by-hand.md"
#: kprobe_events types that give a parameter of these columns whole.
TYPES = {"start": "x64", "end": "x64", "pfn": "x64", "nr_pages": "u64", "nid": "s32",
         "site": "string", "line": "u32"}  # fmt: skip


def test_every_kind_has_one_row_and_one_name() -> None:
    kinds = [row.kind for row in TABLE]
    assert len(set(kinds)) == len(kinds)
    assert set(kinds) == set(Kind) - {Kind.UNKNOWN, Kind.FAULT}  # an Oops is no function
    assert len({name(kind) for kind in Kind}) == len(Kind)
    assert len(KINDS) == sum(len(row.functions) for row in TABLE)
    assert set(COLUMNS.values()) <= set(SCHEMA.names)
    assert set(CHECKED) <= set(KINDS)
    assert not set(ON_THE_WAY) & set(KINDS)


def probes() -> dict[str, tuple[str, dict[str, str]]]:
    """The probes of the recipe: name -> (p or r, function, column -> fetch argument)."""
    lines = re.findall(
        r"(?:^ {4}|echo ')([pr]):(\S+) (\S+)([^'\n]*)", RECIPE.read_text(), re.MULTILINE
    )
    return {
        f"{side} {function}": (probe, dict(each.split("=", 1) for each in arguments.split()))
        for side, probe, function, arguments in lines
    }


def test_the_recipe_has_every_function_on_both_sides() -> None:
    assert set(probes()) == {f"{side} {each}" for side in "pr" for each in set(KINDS) - MOVED}


@pytest.mark.parametrize("function", sorted(set(KINDS) - MOVED))
def test_the_recipe_takes_each_parameter_from_its_register(function: str) -> None:
    row = ROWS[function]
    _, entry = probes()[f"p {function}"]
    shown = {column: fetch.rpartition(":") for column, fetch in entry.items()}
    for parameter, (register, _, kind) in shown.items():
        column = COLUMNS[parameter]
        at = int(re.search(r"x(\d)", register)[1])  # AAPCS64: parameter n is in x<n>
        assert COLUMNS[row.parameters[at]] == column
        assert kind == TYPES[column]
    _, end = probes()[f"r {function}"]
    expected = "$retval:x64" if row.kind in REQUESTS else {"int": "$retval:s32"}.get(row.ret, "")
    assert end.get("ret", "") == expected
    # struct resource: start and end, inclusive
    members = {"first": "+0($retval):x64", "last": "+8($retval):x64"}
    assert {k: v for k, v in end.items() if k != "ret"} == (members if row.kind in REQUESTS else {})


def test_the_bpftrace_script_takes_each_parameter_from_its_register() -> None:
    found = set()
    for function, body in re.findall(
        r"^kprobe:\*?(\w+)\*? \{\n(.*?)^\}", bpftrace.script(), re.MULTILINE | re.DOTALL
    ):
        found.add(function)
        printed = [COLUMNS[word] for word in re.findall(r" (\w+)=", body.partition("printf")[2])]
        taken = [COLUMNS[ROWS[function].parameters[int(at)]] for at in re.findall(r"arg(\d)", body)]
        assert sorted(printed) == sorted(taken)
    assert found == set(KINDS) - MOVED
