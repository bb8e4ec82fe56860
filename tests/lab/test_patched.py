# SPDX-License-Identifier: GPL-2.0-only
"""Debian's kernels while somebody else probes and traces the functions whose code is read.

6.12 names its list of kprobes in kallsyms; 6.1 does not, and what its kprobes replaced is read from
/boot/vmlinuz, or is a reason.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.harness import Boot, Kernel, Lab

#: What both kernels' notes and code say without anybody's probes.
METHODS = ("vmcoreinfo", "code:vmemmap_free", "code:vmemmap_populate", "btf+formula")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("6.1", marks=[pytest.mark.long, pytest.mark.xdist_group("patched-6.1")]),
        pytest.param("6.12", marks=[pytest.mark.long, pytest.mark.xdist_group("patched-6.12")]),
    ],
)
def patched(
    request: pytest.FixtureRequest, lab: Lab, debian: Callable[[str], Kernel]
) -> tuple[str, Boot]:
    series: str = request.param
    return series, lab.boot(debian(series), "patched.sh", timeout_s=900)


def window(boot: Boot, name: str) -> dict[str, Any]:
    assert boot.exit_code(name) == 0, boot.text(f"{name}.err")
    fields: dict[str, Any] = json.loads(boot.text(f"{name}.text"))
    return fields


@pytest.mark.parametrize("name", ["entry", "return", "inside", "traced"])
def test_every_method_says_what_it_says_without_them(patched: tuple[str, Boot], name: str) -> None:
    _, boot = patched
    clean = window(boot, "clean")
    assert set(METHODS) <= clean["methods"].keys()
    found = window(boot, name)
    if name != "traced":
        listed = re.findall(r"vmemmap_\w+\+0x[0-9a-f]+", boot.text(f"{name}.list"))
        assert len(listed) >= (10 if name == "inside" else 1)
    assert found["methods"].keys() == clean["methods"].keys()
    for method, said in found["methods"].items():
        ends = (said["start"], said["end"])
        assert ends == (clean["methods"][method]["start"], clean["methods"][method]["end"])
    assert (found["start"], found["end"]) == (clean["start"], clean["end"])


def test_what_nothing_tells_is_named_as_the_reason(patched: tuple[str, Boot]) -> None:
    series, boot = patched
    found = window(boot, "no-file")
    why = found["missing"].get("code:vmemmap_free", "")
    if series == "6.12":
        assert why == ""  # its memory tells
    else:
        assert re.search(r"at 0x[0-9a-f]{16} stands a kprobe \(brk #0x4\) of somebody else", why)
    assert (found["start"], found["end"]) == (
        window(boot, "clean")["start"],
        window(boot, "clean")["end"],
    )


def test_call_sites_that_somebody_probes_are_found(patched: tuple[str, Boot]) -> None:
    _, boot = patched
    fields = json.loads(boot.text("doctor.text"))
    assert (boot.exit_code("doctor"), fields["gaps"]) == (0, [])
