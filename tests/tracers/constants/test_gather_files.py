# SPDX-License-Identifier: GPL-2.0-only
"""What is read from the running kernel and from given files, and files that cannot be read."""

import errno
import gzip
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tracers.constants.cores import core, kcore, note, write
from tests.tracers.constants.fake_images import (
    BTF,
    BUILD_ID,
    MEMSTART_AT,
    NEW,
    OLD,
    WINDOWS,
    fake_image,
)
from tracers.constants import gather as gathering
from tracers.constants.errors import ConstantsError
from tracers.constants.gather import METHODS, Constants, gather
from tracers.machine import MachineError

# -- the running kernel -----------------------------------------------------------------------


@pytest.fixture
def arm64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="aarch64"))


def running(folder: Path, captures: Path, *, memstart: int = 0x4000_0000) -> Path:
    """A tree with what the lab's 6.1 shows to root."""
    text = (captures / OLD / "kcore-vmcoreinfo").read_text()
    memory = [(MEMSTART_AT, struct.pack("<Q", memstart))]
    gnu = note(b"GNU", bytes.fromhex(BUILD_ID), 3)
    files = {
        "proc/sys/kernel/osrelease": b"6.1.192-vmemlab\n",
        "proc/iomem": (captures / OLD / "iomem").read_bytes(),
        "proc/config.gz": gzip.compress((captures / OLD / "config").read_bytes(), mtime=0),
        "proc/kallsyms": b"%x D memstart_addr\n%x T a [mod]\n" % (MEMSTART_AT, MEMSTART_AT),
        "proc/kcore": kcore(text, memory),
        "sys/kernel/btf/vmlinux": BTF,
        "sys/kernel/notes": note(b"Linux", b"\0" * 4) + gnu,
    }
    return write(folder, files.items())


def test_the_running_kernel(tmp_path: Path, captures: Path, arm64: None) -> None:
    got = gather(live=True, root=running(tmp_path, captures))
    assert got.agree
    assert got.problems == ()
    assert got.window is not None
    assert (got.window.start, got.window.end) == WINDOWS[OLD]
    assert (got.window.memstart, got.window.vabits_actual) == (0x4000_0000, 39)
    assert got.window.provenance["window"] == "vmcoreinfo + btf+formula"
    assert got.build_id == BUILD_ID
    assert got.machine().iomem


def test_what_the_running_kernel_lets_us_trace(
    tmp_path: Path, captures: Path, arm64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "sys/kernel/tracing/available_filter_functions"
    listed.parent.mkdir(parents=True)
    listed.write_text(
        "vmemmap_free\n__warn [mod]\nnot_vmemmap_populate\nsection_deactivate.isra.0\n"
    )
    renamed = {"section_deactivate": "section_deactivate.isra.0"}

    def symbols(names: Iterable[str]) -> dict[str, Any]:
        there = {*names} - {"report_bug"}
        return {name: SimpleNamespace(name=renamed.get(name, name)) for name in there}

    image = fake_image(monkeypatch, symbols=symbols)
    monkeypatch.setattr(gathering, "probeable", lambda _, names: dict.fromkeys(names, "unknown"))
    monkeypatch.setattr(gathering.config, "image_config", lambda _: None)
    got = gather(image, live=True, root=running(tmp_path, captures))
    assert got.probeable["vmemmap_free"] == "traceable"
    assert got.probeable["section_deactivate"] == "traceable"
    assert got.probeable["vmemmap_populate"] == "notrace"
    assert got.probeable["report_bug"] == "inlined or absent"


def test_memory_and_note_are_held_against_each_other(
    tmp_path: Path, captures: Path, arm64: None
) -> None:
    got = gather(live=True, root=running(tmp_path, captures, memstart=0x8000_0000))
    assert not got.agree
    assert "memory of kcore says 0x80000000" in "\n".join(got.problems)


def test_not_root_still_gets_the_formula(
    tmp_path: Path, captures: Path, arm64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = running(tmp_path, captures)
    (root / "proc/iomem").write_text("00000000-00000000 : System RAM\n")
    (root / "proc/kallsyms").write_text("0000000000000000 D memstart_addr\n")
    really = os.open

    def refuse(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith("kcore"):
            raise OSError(errno.EACCES, "Permission denied")
        return really(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    got = gather(live=True, root=root)
    assert "Permission denied" in got.missing["vmcoreinfo"]
    assert list(got.methods) == ["btf+formula"]
    assert got.window is not None
    assert (got.window.start, got.window.end) == WINDOWS[OLD]
    assert (got.window.memstart, got.build_id) == (None, BUILD_ID)
    assert got.problems == ()


def test_no_machine_but_arm64_has_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="x86_64"))
    with pytest.raises(ConstantsError, match="this machine runs x86_64"):
        gather(live=True)


def test_an_empty_tree_gives_no_window_and_the_reasons(tmp_path: Path, arm64: None) -> None:
    got = gather(live=True, root=tmp_path)
    assert (got.methods, got.window) == ({}, None)
    assert set(got.missing) == set(METHODS)
    assert all(reason and "\n" not in reason for reason in got.missing.values())


# -- files given by name ----------------------------------------------------------------------


def dump(folder: Path, captures: Path, *, stext: int = 0) -> tuple[Path, Path]:
    """A dump of the KASLR kernel and a System.map with link-time addresses."""
    text = (captures / NEW / "kcore-vmcoreinfo").read_text()
    kernel_offset = 0x2789_78E0_0000  # KERNELOFFSET
    linked = 0xFFFF_8000_8117_2C10
    memory = [(linked + kernel_offset, struct.pack("<Q", 0xFFFF_C6FB_8000_0000))]
    stext = stext or 0xFFFF_A789_F8E1_0000 - kernel_offset  # its SYMBOL(_stext)
    names = b"%x T _stext\n%x D memstart_addr\n" % (stext, linked)
    folder = write(folder, [("vmcore", kcore(text, memory)), ("System.map", names)])
    return folder / "vmcore", folder / "System.map"


def test_a_dump_with_the_names_of_its_kernel(tmp_path: Path, captures: Path) -> None:
    vmcore, names = dump(tmp_path, captures)
    got = gather(kcore=vmcore, system_map=names)
    assert got.agree
    assert got.problems == ()
    assert got.window is not None
    assert got.window.memstart == 0xFFFF_C6FB_8000_0000
    assert got.window.provenance["window"] == "vmcoreinfo + btf+formula"
    assert "struct_page 64 (vmcoreinfo)" in got.methods["btf+formula"].detail


def test_a_dump_with_the_names_of_another_kernel(tmp_path: Path, captures: Path) -> None:
    vmcore, names = dump(tmp_path, captures, stext=0xFFFF_8000_8001_1000)
    got = gather(kcore=vmcore, system_map=names)
    assert got.problems == ("System.map: of another kernel than the core file: not used",)


def test_a_dump_whose_kaslr_offset_is_no_number(tmp_path: Path, captures: Path) -> None:
    vmcore, names = dump(tmp_path, captures)
    data = vmcore.read_bytes().replace(b"KERNELOFFSET=278978e00000", b"KERNELOFFSET=no number!!")
    vmcore.write_bytes(data)
    got = gather(kcore=vmcore, system_map=names)
    assert "System.map: of another kernel" in got.problems[0]
    assert got.window is not None


def test_a_release_for_sources_that_name_none(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = fake_image(monkeypatch, release=None, build_id=None)  # a .BTF blob
    config = captures / OLD / "config"
    assert "no release" in gather(image, config=config).missing["btf+formula"]
    got = gather(image, config=config, release="6.1.192")
    assert got.window is not None
    assert (got.window.start, got.window.end) == WINDOWS[OLD]


def test_a_dump_given_as_the_image(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (captures / OLD / "kcore-vmcoreinfo").read_bytes()
    image = fake_image(
        monkeypatch,
        notes=lambda: (SimpleNamespace(name="VMCOREINFO", desc=text),),
        btf=lambda: None,
    )
    got = gather(image)
    assert got.window is not None
    assert got.methods["vmcoreinfo"].window == WINDOWS[OLD]


def test_old_notes_without_the_window(captures: Path) -> None:
    text = (captures / OLD / "kcore-vmcoreinfo").read_text()
    old = "".join(line for line in text.splitlines(keepends=True) if "VMEMMAP" not in line)
    got = gather(vmcoreinfo_text=old.replace("6.1.192", "5.15.3"))
    assert "5.18" in got.missing["vmcoreinfo"]
    assert got.window is not None
    assert (got.window.start, got.window.end) == WINDOWS[OLD]
    assert got.window.provenance["window"] == "btf+formula"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config", b"# Linux/x86 6.1.0 Kernel Configuration\nCONFIG_X86=y\n", "for x86, not arm64"),
        ("config", b"\x1f\x8b\x08\0damaged", "damaged gzip"),
        ("config", gzip.compress(b"\0" * (64 << 20), mtime=0), "no kernel configuration"),
        ("config", b"", "no kernel configuration"),
        ("kcore", core(b""), "no VMCOREINFO note"),
        ("kcore", b"text", "neither a core file nor the text"),
    ],
    ids=["x86", "damaged", "bomb", "empty", "no note", "text"],
)
def test_a_given_file_that_cannot_be_used(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    with pytest.raises(ConstantsError, match=message) as caught:
        gather(**{name: path})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config", "kcore"])
def test_a_given_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConstantsError, match="No such file"):
        gather(**{name: tmp_path / "none"})  # type: ignore[arg-type]
    with pytest.raises(MachineError, match="No such file"):
        gather(machine_dir=tmp_path / "none")


def test_nothing_given_is_no_error() -> None:
    got = gather()
    assert isinstance(got, Constants)
    assert (got.window, got.agree, set(got.missing)) == (None, True, set(METHODS))
