# SPDX-License-Identifier: GPL-2.0-only
"""A fake kernel image with the results a test wants, and the captured kernels' windows."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tracers.constants.test_btf import PAGE, STRUCT, blob, record
from tracers.constants import gather as gathering
from tracers.constants.dataflow.window_in_code import Reading
from tracers.constants.gather import METHODS
from tracers.constants.method_result import MethodResult

WINDOWS = {
    "6.1.192-vmemlab-39bit": (0xFFFF_FFFE_0000_0000, 0xFFFF_FFFF_0000_0000),
    "6.12.117-vmemlab-48bit": (0xFFFF_FDFF_C000_0000, 0xFFFF_FFFF_C000_0000),
}
OLD, NEW = WINDOWS
BUILD_ID = "3efcb224608b9fa782cc10ffbd19238962524dc0"  # OLD's
BTF = blob(record(PAGE, STRUCT, 0, 64))
CODES = METHODS[1:5]
MEMSTART_AT = 0xFFFF_FFC0_08C5_C538  # as the lab's 6.1 has it


def fake_image(
    monkeypatch: pytest.MonkeyPatch, results: Mapping[str, MethodResult] | None = None, **facts: Any
) -> Any:
    """An image whose code gives ``results`` by method."""

    def reading(method: str) -> Reading:
        result = (results or {}).get(method)
        return Reading(result, "" if result and result.window else f"{method} does not say")

    monkeypatch.setattr(
        gathering.window_in_code, "read_compare", lambda body: reading(f"code:{body}")
    )
    monkeypatch.setattr(gathering.window_in_code, "read_call", lambda *_: reading(CODES[2]))
    monkeypatch.setattr(
        gathering.window_in_code, "read_vmcoreinfo", lambda _: reading("code:vmcoreinfo")
    )
    monkeypatch.setattr(gathering, "warn_sites", lambda _: ())
    monkeypatch.setattr(gathering, "probeable", lambda _, names: dict.fromkeys(names, "traceable"))
    fields: dict[str, Any] = {
        "path": Path("vmlinux"),
        "release": "6.1.192-vmemlab",
        "build_id": BUILD_ID,
        "header_page_size": 4096,
        "function": lambda name: name if name != "get_free_mem_region" else None,
        "symbol": lambda _: None,
        "symbols": lambda _: {},
        "names": "symtab",
        "find": lambda _: None,
        "read": lambda *_: None,
        "notes": lambda: (),
        "btf": lambda: BTF,
    }
    return SimpleNamespace(**(fields | facts))


def result(method: str, start: int | None, end: int | None, **facts: int) -> MethodResult:
    return MethodResult(start, end, method, "made for a test", **facts)


def whole(
    names: tuple[str, ...], window: tuple[int, int] = WINDOWS[OLD]
) -> dict[str, MethodResult]:
    return {name: result(name, *window) for name in names}
