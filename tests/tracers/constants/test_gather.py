# SPDX-License-Identifier: GPL-2.0-only
"""All methods side by side: agreement and contradiction.

Expected windows are the captured kernels' own notes; the images' code is faked here and
decoded in dataflow/test_window_in_code.py.
"""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tracers.constants.fake_images import (
    BTF,
    BUILD_ID,
    CODES,
    NEW,
    OLD,
    WINDOWS,
    fake_image,
    result,
    whole,
)
from tracers.constants.gather import METHODS, gather
from tracers.constants.image.kernel_image import open_kernel
from tracers.constants.method_result import MethodResult
from tracers.families import Family
from tracers.machine import Machine
from tracers.machine_window import ASSUMED

# -- agreement ------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", WINDOWS)
def test_a_captured_machine_alone(captures: Path, kernel: str) -> None:
    got = gather(machine_dir=captures / kernel)
    assert got.agree
    assert got.problems == ()
    assert got.window is not None
    assert (got.window.start, got.window.end) == WINDOWS[kernel]
    assert got.window.provenance["window"] == "vmcoreinfo + btf+formula"
    assert {method.window for method in got.methods.values()} == {WINDOWS[kernel]}
    assert set(got.methods) | set(got.missing) == set(METHODS)
    machine = got.machine()
    assert (machine.release, machine.build_id) == (got.release, got.build_id)
    assert machine.layout is not None
    assert Machine.from_dict(json.loads(json.dumps(machine.to_dict()))) == machine


def test_all_methods_agree_in_one_window(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = fake_image(monkeypatch, whole(CODES))
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
    got = gather(fake_image(monkeypatch), config=captures / OLD / "config")
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
    packed = gzip.compress((captures / OLD / "config").read_bytes(), mtime=0)
    base = 0xFFFF_FFC0_0900_0000
    data = b"IKCFG_ST" + packed + b"IKCFG_ED" + b"\0" * (1 << 16)
    ends = {"kernel_config_data": 8, "kernel_config_data_end": 8 + len(packed)}

    def read(va: int, size: int) -> bytes | None:
        part = data[va - base : va - base + size]
        return part if len(part) == size else None

    image = fake_image(
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
    got = gather(fake_image(monkeypatch, whole(CODES[:1], odd)))
    assert got.window is not None
    assert (got.window.end, got.window.va_bits, got.window.page_size) == (odd[1], None, 4096)
    assert got.window.provenance["page_size"] == "image header"
    assert (
        got.missing["btf+formula"]
        == "not known: the kernel's VA bits (its configuration: --config)"
    )
    assert got.missing["code:vmemmap_populate"] == "code:vmemmap_populate does not say"


def test_the_family_is_the_one_that_gives_another_methods_window(
    captures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # a vendor's 6.1 with 6.9's layout
    image = fake_image(monkeypatch, whole(CODES[:1], WINDOWS[NEW]))
    text = (captures / NEW / "config").read_text()
    (tmp_path / "config").write_text(
        text.replace("# Linux/arm64 6.12.117", "# Linux/arm64 6.1.192")
    )
    got = gather(image, config=tmp_path / "config")
    assert got.agree
    assert "formula of 6.9+, as it gives what code:vmemmap_free says" in (
        detail := got.methods["btf+formula"].detail
    )
    assert "though release 6.1.192-vmemlab is of 5.11-6.8" in detail
    assert got.window is not None
    assert got.window.family is Family.V6_9


def test_facts_and_borders_from_code(monkeypatch: pytest.MonkeyPatch) -> None:
    result_of_code = MethodResult(
        *WINDOWS[OLD],
        "code:vmcoreinfo",
        "made",
        va_bits=39,
        page_size=4096,
        facts=(("VMALLOC_END", 0xFFFF_FFFD_F000_0000),),
    )
    got = gather(fake_image(monkeypatch, {"code:vmcoreinfo": result_of_code}))
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
    assert {method.window for method in got.methods.values()} == {window}
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
    image = fake_image(monkeypatch, whole(CODES) | {odd: result(odd, *other)})
    got = gather(image, machine_dir=captures / OLD)
    assert not got.agree
    assert f"{odd} says 0xfffffffe00000000 - 0xfffffffeffe00000" in "\n".join(got.problems)
    assert got.methods[odd].window == other
    assert got.window is not None
    assert got.window.end == WINDOWS[OLD][1]
    assert odd not in got.window.provenance["window"].split(" + ")
    assert got.machine().problems == got.problems


def test_one_bound_alone_is_compared_too(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = result("code:vmemmap_free", WINDOWS[OLD][0], None)
    got = gather(fake_image(monkeypatch, {half.method: half}), machine_dir=captures / OLD)
    assert got.agree
    wrong = result("code:vmemmap_free", None, WINDOWS[OLD][1] + 64)
    got = gather(fake_image(monkeypatch, {wrong.method: wrong}), machine_dir=captures / OLD)
    assert not got.agree
    assert got.problems[0] == (
        "code:vmemmap_free says VMEMMAP_END is 0xffffffff00000040, the window has"
        " 0xffffffff00000000"
    )


def test_the_configuration_of_another_kernel(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = fake_image(monkeypatch, whole(CODES))
    got = gather(image, config=captures / NEW / "config")  # 48 bits
    assert not got.agree
    assert "btf+formula says 0xfffffc0000000000 - 0xfffffe0000000000" in "\n".join(got.problems)


def test_facts_that_differ(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = fake_image(monkeypatch, header_page_size=16384)
    got = gather(image, machine_dir=captures / OLD)
    assert not got.agree
    assert "page_size: vmcoreinfo says 4096, config says 4096, image header says 16384" in (
        "\n".join(got.problems)
    )


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"build_id": "00" * 20}, f"vmlinux has build-id {'00' * 20}, the machine {BUILD_ID}"),
        ({"release": "6.2.0"}, "vmlinux has release 6.2.0, the machine 6.1.192-vmemlab"),
    ],
)
def test_the_image_of_another_kernel(
    captures: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], problem: str
) -> None:
    got = gather(fake_image(monkeypatch, **facts), machine_dir=captures / OLD)
    assert not got.agree
    assert problem in "\n".join(got.problems)


def test_a_second_note_is_not_used_in_silence(captures: Path) -> None:
    text = (captures / NEW / "kcore-vmcoreinfo").read_text()
    got = gather(vmcoreinfo_text=text, machine_dir=captures / OLD)
    assert got.window is not None
    assert got.window.start == WINDOWS[NEW][0]
    assert "kcore-vmcoreinfo: vmcoreinfo is used" in "\n".join(got.problems)
    assert not got.agree  # the folder's configuration and uname are OLD's


def test_damaged_btf_is_a_problem_and_gives_no_size(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = fake_image(monkeypatch, btf=lambda: BTF[:-3])
    got = gather(image, config=captures / OLD / "config")
    assert "sizeof(struct page)" in got.missing["btf+formula"]
    assert "string section ends" in "\n".join(got.problems)
    assert got.window is not None
    assert got.window.provenance["struct_page"] == ASSUMED
