"""All methods side by side: agreement, contradiction, and sources that refuse.

Expected windows are the captured kernels' own notes; the images' code is stood in for here and
decoded in test_code.py.
"""

import errno
import gzip
import json
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tracers.constants.cores import core, kcore, note, write
from tests.tracers.constants.test_btf import PAGE, STRUCT, blob, record
from tracers.constants import gather as gathering
from tracers.constants.code import Reading
from tracers.constants.errors import ConstantsError
from tracers.constants.found import Found
from tracers.constants.gather import METHODS, Constants, gather
from tracers.constants.image import open_kernel
from tracers.formulas import Family
from tracers.machine import Machine, MachineError

WINDOWS = {
    "6.1.192-vmemlab-39bit": (0xFFFF_FFFE_0000_0000, 0xFFFF_FFFF_0000_0000),
    "6.12.117-vmemlab-48bit": (0xFFFF_FDFF_C000_0000, 0xFFFF_FFFF_C000_0000),
}
OLD, NEW = WINDOWS
BUILD_ID = "3efcb224608b9fa782cc10ffbd19238962524dc0"  # OLD's
BTF = blob(record(PAGE, STRUCT, 0, 64))
CODES = METHODS[1:5]
MEMSTART_AT = 0xFFFF_FFC0_08C5_C538  # as the lab's 6.1 has it


def stand_in(
    monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Found] | None = None, **facts: Any
) -> Any:
    """An image whose code gives ``answers`` by method."""

    def reading(method: str) -> Reading:
        found = (answers or {}).get(method)
        return Reading(found, "" if found and found.window else f"{method} does not say")

    monkeypatch.setattr(gathering.code, "read_compare", lambda body: reading(f"code:{body}"))
    monkeypatch.setattr(gathering.code, "read_call", lambda *_: reading(CODES[2]))
    monkeypatch.setattr(gathering.code, "read_vmcoreinfo", lambda _: reading("code:vmcoreinfo"))
    monkeypatch.setattr(gathering, "warn_sites", lambda _: ())
    monkeypatch.setattr(gathering, "probeable", lambda _, names: dict.fromkeys(names, "traceable"))
    told: dict[str, Any] = {
        "path": Path("vmlinux"),
        "release": "6.1.192-vmemlab",
        "build_id": BUILD_ID,
        "header_page_size": 4096,
        "function": lambda name: name,
        "symbol": lambda _: None,
        "symbols": lambda _: {},
        "names": "symtab",
        "find": lambda _: None,
        "read": lambda *_: None,
        "notes": lambda: (),
        "btf": lambda: BTF,
    }
    return SimpleNamespace(**(told | facts))


def found(method: str, start: int | None, end: int | None, **facts: int) -> Found:
    return Found(start, end, method, "made for a test", **facts)


def whole(names: tuple[str, ...], window: tuple[int, int] = WINDOWS[OLD]) -> dict[str, Found]:
    return {name: found(name, *window) for name in names}


# -- agreement ------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", WINDOWS)
def test_a_captured_machine_alone(captures: Path, kernel: str) -> None:
    got = gather(machine_dir=captures / kernel)
    assert got.agree
    assert got.problems == ()
    assert got.window is not None
    assert (got.window.start, got.window.end) == WINDOWS[kernel]
    assert got.window.provenance["window"] == "vmcoreinfo + btf+formula"
    assert {found.window for found in got.methods.values()} == {WINDOWS[kernel]}
    assert set(got.methods) | set(got.missing) == set(METHODS)
    machine = got.machine()
    assert (machine.release, machine.build_id) == (got.release, got.build_id)
    assert machine.layout is not None
    assert Machine.from_dict(json.loads(json.dumps(machine.to_dict()))) == machine


def test_all_methods_agree_in_one_window(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = stand_in(monkeypatch, whole(CODES))
    got = gather(image, machine_dir=captures / OLD)
    assert got.agree
    assert got.missing == {}
    assert tuple(got.methods) == METHODS
    assert got.window is not None
    assert got.window.provenance["window"] == (
        "vmcoreinfo + code:vmemmap_free + code:vmemmap_populate"
        " + code:vmemmap_free:free_empty_tables + code:vmcoreinfo + btf+formula"
    )
    assert got.window.family is Family.V5_11
    assert got.probeable["vmemmap_populate"] == "traceable"
    assert got.machine().sources[0] == "vmlinux"


def test_an_image_and_its_configuration_are_enough(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = gather(stand_in(monkeypatch), config=captures / OLD / "config")
    assert got.window is not None
    assert (got.window.start, got.window.end) == WINDOWS[OLD]
    assert got.methods["btf+formula"].detail == (
        "formula of 5.11-6.8, by release 6.1.192-vmemlab: va_bits 39 (config),"
        " page_size 4096 (config), struct_page 64 (BTF)"
    )
    assert got.window.provenance["section_size_bits"] == "release"
    assert (got.release, got.build_id, got.machine().arch) == (
        "6.1.192-vmemlab",
        BUILD_ID,
        "aarch64",
    )


@pytest.mark.parametrize("named", [True, False])
def test_the_configuration_inside_the_image(
    captures: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    packed = gzip.compress((captures / OLD / "config").read_bytes())
    base = 0xFFFF_FFC0_0900_0000
    data = b"IKCFG_ST" + packed + b"IKCFG_ED" + b"\0" * (1 << 16)
    ends = {"kernel_config_data": 8, "kernel_config_data_end": 8 + len(packed)}

    def read(va: int, size: int) -> bytes | None:
        part = data[va - base : va - base + size]
        return part if len(part) == size else None

    image = stand_in(
        monkeypatch,
        read=read,
        names="symtab" if named else None,
        symbols=lambda _: {n: SimpleNamespace(va=base + at) for n, at in ends.items() if named},
        find=lambda pattern: base + data.find(pattern),
    )
    got = gather(image)
    assert got.window is not None
    assert (got.window.start, got.window.end) == WINDOWS[OLD]
    assert got.machine().sources == ("vmlinux", "IKCONFIG")


def test_code_alone_gives_the_window_without_what_only_the_configuration_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = (WINDOWS[OLD][0], WINDOWS[OLD][1] - 4096)  # which no formula gives
    got = gather(stand_in(monkeypatch, whole(CODES[:1], odd)))
    assert got.window is not None
    assert (got.window.end, got.window.va_bits, got.window.page_size) == (odd[1], None, 4096)
    assert got.window.provenance["page_size"] == "image header"
    assert (
        got.missing["btf+formula"]
        == "not known: the kernel's VA bits (its configuration: --config)"
    )
    assert got.missing["code:vmemmap_populate"] == "code:vmemmap_populate does not say"


def test_the_family_is_the_one_that_gives_another_methods_answer(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a vendor's 6.1 with 6.9's layout
    image = stand_in(monkeypatch, whole(CODES[:1], WINDOWS[NEW]))
    got = gather(image, config=captures / NEW / "config")
    assert got.agree
    assert "formula of 6.9+, as it gives what code:vmemmap_free says" in (
        detail := got.methods["btf+formula"].detail
    )
    assert "though release 6.1.192-vmemlab is of 5.11-6.8" in detail
    assert got.window is not None
    assert got.window.family is Family.V6_9


def test_facts_and_borders_that_code_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Found(
        *WINDOWS[OLD],
        "code:vmcoreinfo",
        "made",
        va_bits=39,
        page_size=4096,
        facts=(("VMALLOC_END", 0xFFFF_FFFD_F000_0000),),
    )
    got = gather(stand_in(monkeypatch, {"code:vmcoreinfo": answer}))
    assert got.agree
    assert got.window is not None
    assert got.window.va_bits == 39
    assert got.methods["btf+formula"].window == WINDOWS[OLD]
    layout = got.machine().layout
    assert layout is not None
    assert any(region.end == 0xFFFF_FFFD_F000_0000 for region in layout.regions)


KERNELS = {
    # name: window, VA bits, page size, family; from kernel-facts and the kernels' own notes,
    # 5.10's by hand: END is 2 MiB below the top, SIZE 2^41
    "debian-5.10.0-32-48bit-4k": (
        (0xFFFF_FDFF_FFE0_0000, 0xFFFF_FFFF_FFE0_0000), 48, 4096, Family.V5_4
    ),
    "debian-6.1.0-56-48bit-4k": (
        (0xFFFF_FC00_0000_0000, 0xFFFF_FE00_0000_0000), 48, 4096, Family.V5_11
    ),
    "debian-6.12.117-52bit-4k": (
        (0xFFFF_C1FF_C000_0000, 0xFFFF_FFFF_C000_0000), 52, 4096, Family.V6_9
    ),
    "lab-6.1.192-39bit-4k": (WINDOWS[OLD], 39, 4096, Family.V5_11),
    "lab-6.12.117-48bit-4k": (WINDOWS[NEW], 48, 4096, Family.V6_9),
}  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS)
def test_real_kernels_without_any_configuration(kernel: str) -> None:
    window, va_bits, page_size, family = KERNELS[kernel]
    path = Path(__file__).resolve().parents[2] / "kernels" / f"{kernel}.elf"
    with open_kernel(path) as image:
        got = gather(image)
    assert got.agree
    assert got.problems == ()
    assert {found.window for found in got.methods.values()} == {window}
    assert got.window is not None
    assert (got.window.start, got.window.end) == window
    assert (got.window.va_bits, got.window.page_size) == (va_bits, page_size)
    assert (got.window.family, got.window.struct_page) == (family, 64)
    assert got.machine().layout is not None
    assert any(site.function == "vmemmap_free" for site in got.warn_sites)


# -- contradiction --------------------------------------------------------------------------


@pytest.mark.parametrize("odd", CODES)
def test_one_method_that_differs_is_loud(
    captures: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    other = (WINDOWS[OLD][0], WINDOWS[OLD][1] - (1 << 21))
    image = stand_in(monkeypatch, whole(CODES) | {odd: found(odd, *other)})
    got = gather(image, machine_dir=captures / OLD)
    assert not got.agree
    assert f"{odd} says 0xfffffffe00000000 - 0xfffffffeffe00000" in "\n".join(got.problems)
    assert got.methods[odd].window == other
    assert got.window is not None
    assert got.window.end == WINDOWS[OLD][1]
    assert odd not in got.window.provenance["window"].split(" + ")
    assert got.machine().problems == got.problems


def test_half_an_answer_counts_for_its_half(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = found("code:vmemmap_free", WINDOWS[OLD][0], None)
    got = gather(stand_in(monkeypatch, {half.method: half}), machine_dir=captures / OLD)
    assert got.agree
    wrong = found("code:vmemmap_free", None, WINDOWS[OLD][1] + 64)
    got = gather(stand_in(monkeypatch, {wrong.method: wrong}), machine_dir=captures / OLD)
    assert not got.agree
    assert got.problems[0] == (
        "code:vmemmap_free says VMEMMAP_END is 0xffffffff00000040, the window has"
        " 0xffffffff00000000"
    )


def test_the_configuration_of_another_kernel(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = stand_in(monkeypatch, whole(CODES))
    got = gather(image, config=captures / NEW / "config")  # 48 bits
    assert not got.agree
    assert "btf+formula says 0xfffffc0000000000 - 0xfffffe0000000000" in "\n".join(got.problems)


def test_facts_that_differ(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = stand_in(monkeypatch, header_page_size=16384)
    got = gather(image, machine_dir=captures / OLD)
    assert not got.agree
    assert "page_size: vmcoreinfo says 4096, config says 4096, image header says 16384" in (
        "\n".join(got.problems)
    )


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"build_id": "00" * 20}, f"vmlinux has build-id {'00' * 20}, the machine {BUILD_ID}"),
        ({"release": "6.2.0"}, "vmlinux has release 6.2.0, the machine 6.1.192-vmemlab"),
    ],
)
def test_the_image_of_another_kernel(
    captures: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], said: str
) -> None:
    got = gather(stand_in(monkeypatch, **facts), machine_dir=captures / OLD)
    assert not got.agree
    assert said in "\n".join(got.problems)


def test_a_second_note_is_not_used_in_silence(captures: Path) -> None:
    text = (captures / NEW / "kcore-vmcoreinfo").read_text()
    got = gather(vmcoreinfo_text=text, machine_dir=captures / OLD)
    assert got.window is not None
    assert got.window.start == WINDOWS[NEW][0]
    assert "kcore-vmcoreinfo: vmcoreinfo is used" in "\n".join(got.problems)
    assert not got.agree  # the folder's configuration and uname are OLD's


def test_damaged_btf_is_a_problem_and_no_answer(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = stand_in(monkeypatch, btf=lambda: BTF[:-3])
    got = gather(image, config=captures / OLD / "config")
    assert "sizeof(struct page)" in got.missing["btf+formula"]
    assert "string section ends" in "\n".join(got.problems)
    assert got.window is None


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
        "proc/config.gz": gzip.compress((captures / OLD / "config").read_bytes()),
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

    image = stand_in(monkeypatch, symbols=symbols)
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


def test_an_empty_tree_has_no_answer_and_says_why(tmp_path: Path, arm64: None) -> None:
    got = gather(live=True, root=tmp_path)
    assert (got.methods, got.window) == ({}, None)
    assert set(got.missing) == set(METHODS)
    assert all(reason and "\n" not in reason for reason in got.missing.values())


# -- files given by name ----------------------------------------------------------------------


def dump(folder: Path, captures: Path, *, stext: int = 0) -> tuple[Path, Path]:
    """A dump of the KASLR kernel and a System.map with link-time addresses."""
    text = (captures / NEW / "kcore-vmcoreinfo").read_text()
    moved = 0x2789_78E0_0000  # its KERNELOFFSET
    linked = 0xFFFF_8000_8117_2C10
    memory = [(linked + moved, struct.pack("<Q", 0xFFFF_C6FB_8000_0000))]
    stext = stext or 0xFFFF_A789_F8E1_0000 - moved  # its SYMBOL(_stext)
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
    image = stand_in(monkeypatch, release=None, build_id=None)  # a .BTF blob
    config = captures / OLD / "config"
    assert "no release" in gather(image, config=config).missing["btf+formula"]
    got = gather(image, config=config, release="6.1.192")
    assert got.window is not None
    assert (got.window.start, got.window.end) == WINDOWS[OLD]


def test_a_dump_given_as_the_image(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (captures / OLD / "kcore-vmcoreinfo").read_bytes()
    image = stand_in(
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
    ("name", "content", "said"),
    [
        ("config", b"# Linux/x86 6.1.0 Kernel Configuration\nCONFIG_X86=y\n", "for x86, not arm64"),
        ("config", b"\x1f\x8b\x08\0damaged", "damaged gzip"),
        ("config", gzip.compress(b"\0" * (64 << 20)), "no kernel configuration"),
        ("config", b"", "no kernel configuration"),
        ("kcore", core(b""), "no VMCOREINFO note"),
        ("kcore", b"text", "neither a core file nor the text"),
    ],
)
def test_a_given_file_that_cannot_be_used(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    with pytest.raises(ConstantsError, match=said) as caught:
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
