# SPDX-License-Identifier: GPL-2.0-only
"""Kernels, recordings and numbers as sources of the window, on the command line."""

from pathlib import Path

import pytest

import tui.commands.window_sources
from recordings.reports.window_report import WindowReport
from tests.recordings.windows import HOSTILE, debian, hostile, torn
from tests.tui.in_process import as_json, error_of, stdout_of
from tui.commands.window import explain, window


@pytest.fixture
def kernels() -> Path:
    """Real kernels, cut down to what their constants are in."""
    return Path(__file__).resolve().parents[2] / "kernels"


@pytest.mark.parametrize(
    ("report", "code"),
    [(debian, 0), (torn, 3), (lambda: WindowReport("x", missing={"code": "stripped"}), 3)],
)
def test_the_exit_code_says_whether_the_methods_agree(monkeypatch, report, code: int) -> None:
    monkeypatch.setattr(tui.commands.window_sources, "of_spec", lambda _: report())
    stdout_of(window, "vmlinux", code=code)
    assert as_json("vmlinux", code=code)["agree"] is (report is not torn)


# Windows and lines from kernel-facts.md; the lab's are what the booted kernels note themselves.
@pytest.mark.parametrize(
    ("kernel", "start", "end", "lines"),
    [
        ("debian-6.1.0-56-48bit-4k", 0xFFFF_FC00_0000_0000, 0xFFFF_FE00_0000_0000, {1222, 1268}),
        ("debian-6.12.117-52bit-4k", 0xFFFF_C1FF_C000_0000, 0xFFFF_FFFF_C000_0000, {1207, 1222}),
        ("lab-6.1.192-39bit-4k", 0xFFFF_FFFE_0000_0000, 0xFFFF_FFFF_0000_0000, {1222, 1268}),
        ("lab-6.12.117-48bit-4k", 0xFFFF_FDFF_C000_0000, 0xFFFF_FFFF_C000_0000, set()),
    ],
)
def test_real_kernels_reduced(kernels: Path, kernel: str, start: int, end: int, lines) -> None:
    found = as_json(kernels / f"{kernel}.elf")
    assert (int(found["start"], 16), int(found["end"], 16)) == (start, end)
    assert found["agree"] is True
    for method in ("code:vmemmap_free", "code:vmemmap_populate"):
        assert int(found["methods"][method]["start"], 16) == start
        assert int(found["methods"][method]["end"], 16) == end
    warns = {w["site"] for w in found["warn_sites"] if w["function"].startswith("vmemmap_")}
    assert {f"arch/arm64/mm/mmu.c:{line}" for line in lines} <= warns


def test_a_kernel_and_another_ones_note_contradict_each_other(
    kernels: Path, captures: Path
) -> None:
    note = captures / "6.12.117-vmemlab-48bit" / "kcore-vmcoreinfo"
    args = (kernels / "lab-6.1.192-39bit-4k.elf", "--vmcoreinfo", note)
    assert stdout_of(window, *args, code=3).startswith("CONTRADICTION")
    found = as_json(*args, code=3)
    assert found["agree"] is False
    assert found["problems"]
    starts = {name: way["start"] for name, way in found["methods"].items()}
    assert starts["vmcoreinfo"] == "0xfffffdffc0000000"
    assert starts["code:vmemmap_free"] == "0xfffffffe00000000"
    own = captures / "6.1.192-vmemlab-39bit" / "kcore-vmcoreinfo"
    assert as_json(args[0], "--vmcoreinfo", own)["agree"] is True


def test_explain_by_a_kernels_file(kernels: Path) -> None:
    spec = kernels / "lab-6.1.192-39bit-4k.elf"
    # kernel-facts: where request_free_mem_region's pfn crashed the lab kernel, RAM at 1 GiB
    text = stdout_of(explain, "pfn:0xffffc0000", "--window", spec, "--memstart", "1G")
    assert "= 0x000003fdfe000000" in text
    assert "regime: wrapped" in text


def test_a_kernel_with_memstart_from_elsewhere(monkeypatch) -> None:
    monkeypatch.setattr(tui.commands.window_sources, "of_spec", lambda _: debian())
    found = as_json("vmlinux", "--memstart", "0x80000000", "--cover", "2G+1G")
    assert found["provenance"]["memstart"] == "given"
    assert found["phys"] == {"start": "0x80000000", "end": "0x800080000000"}
    assert found["cover"]["covered"] is True


def test_the_text_of_a_file_is_never_printed_raw(monkeypatch) -> None:
    monkeypatch.setattr(tui.commands.window_sources, "of_spec", lambda _: hostile())
    text = stdout_of(window, "vmlinux")
    assert not set("\x1b\x07\u202e\u200b") & set(text)
    assert as_json("vmlinux")["release"] == HOSTILE


def test_a_recordings_window_and_where_it_is_from(traced: Path) -> None:
    storm = str(traced / "storm.arrows")
    text = stdout_of(window, storm)
    # kernel-facts: the lab's 6.1
    assert text.startswith("WINDOW  0xfffffffe00000000 - 0xffffffff00000000, vmcoreinfo")
    assert as_json(storm)["provenance"]["window"] == "vmcoreinfo"


@pytest.mark.parametrize(
    ("kernel", "start", "end", "reach"),
    [
        ("6.1.192-vmemlab-39bit", "0xfffffffe00000000", "0xffffffff00000000", "0x4040000000"),
        ("6.12.117-vmemlab-48bit", "0xfffffdffc0000000", "0xffffffffc0000000", None),
    ],
)
def test_the_lab_kernels_notes(captures: Path, kernel, start, end, reach) -> None:
    found = as_json("--vmcoreinfo", captures / kernel / "kcore-vmcoreinfo")
    assert (found["start"], found["end"], found["agree"]) == (start, end, True)
    assert found["methods"]["vmcoreinfo"]["start"] == start
    assert found["release"] == f"{kernel.split('-')[0]}-vmemlab"
    assert found["missing"]["code:vmemmap_free"]
    if reach:
        assert found["phys"] == {"start": "0x40000000", "end": reach}


def test_a_kernel_and_its_configuration_go_to_all_methods(monkeypatch, tmp_path: Path) -> None:
    passed = {}
    monkeypatch.setattr(
        tui.commands.window_sources,
        "gathered",
        lambda *args, **named: passed.update(named) or debian(),
    )
    as_json("vmlinux", "--config", tmp_path / "config", "--system-map", tmp_path / "map")
    assert passed["config"] == tmp_path / "config"
    assert passed["system_map"] == tmp_path / "map"
    assert passed["live"] is False


@pytest.mark.parametrize("content", [b"", b"hello\n" * 99, b"\x7fELF\x02\x01\x01" + b"\0" * 40])
def test_what_is_no_kernel(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert str(path) in error_of(window, path)
    assert str(path) in error_of(explain, "pfn:1", "--window", path)
