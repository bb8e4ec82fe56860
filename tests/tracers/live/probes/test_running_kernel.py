# SPDX-License-Identifier: GPL-2.0-only
"""What is read of the running kernel, and the reasons for what cannot be read."""

import os

import pytest

from tests.kernels.files import kernel
from tests.tracers.live.machines import BTF_6_1, SLIDE, other_build, running
from tests.tracers.live.oracle import symbols
from tracers.constants.btf import Prototype
from tracers.constants.errors import ConstantsError
from tracers.live.probes.running_kernel import read_kernel

LAB = "lab-6.1.192-39bit-4k"
WANTED = ("vmemmap_free", "sparse_remove_section")


@pytest.fixture(autouse=True)
def arm64(monkeypatch):
    own = os.uname()
    monkeypatch.setattr(
        os, "uname", lambda: os.uname_result((*own[:2], "6.1.192", own[3], "aarch64"))
    )


def code(name: str) -> bytes:
    """The first bytes of a function by objdump's address and the file's first mapping of it."""
    va, size = symbols(LAB)[name]
    whole = kernel(LAB).read_bytes()
    count = int.from_bytes(whole[56:58], "little")
    for at in range(64, 64 + 56 * count, 56):
        offset, start = (int.from_bytes(whole[at + n :][:8], "little") for n in (8, 16))
        length = int.from_bytes(whole[at + 32 :][:8], "little")
        if start <= va < start + length:
            return whole[offset + va - start :][:size]
    raise AssertionError(name)


def test_all_that_a_kernel_shows_to_root(tmp_path):
    found = read_kernel(WANTED, root=running(tmp_path, LAB, slide=-0x4000000, btf=BTF_6_1))
    assert found.missing == {}
    assert found.slide == 0
    assert found.prototypes == {
        "vmemmap_free": Prototype(("start", "end", "altmap"), "void"),
        "sparse_remove_section": Prototype(
            ("ms", "pfn", "nr_pages", "map_offset", "altmap"), "void"
        ),
    }
    assert found.text is not None
    va = symbols(LAB)["vmemmap_free"][0] - 0x4000000
    assert found.text.read(va, 64) == code("vmemmap_free")[:64]
    found.close()


def test_a_vmlinux_and_the_running_kernels_slide(tmp_path):
    # 39-bit: sliding up wraps around 2^64, as addresses do
    root = running(tmp_path, LAB, slide=-0x4000000, core=False)
    found = read_kernel(WANTED, vmlinux=kernel(LAB), root=root)
    assert found.slide == 2**64 - 0x4000000
    assert found.text is not None
    assert found.text.function("vmemmap_free").bytes == code("vmemmap_free")
    found.close()


def test_the_slide_of_a_48_bit_kernel(tmp_path):
    name = "lab-6.12.117-48bit-4k"
    root = running(tmp_path, name, core=False)
    found = read_kernel(WANTED, vmlinux=kernel(name), root=root)
    assert found.slide == SLIDE
    found.close()


def test_the_vmlinux_of_another_build_is_rejected(tmp_path):
    root = running(tmp_path, LAB, slide=0, core=False)
    other_build(root)
    with pytest.raises(ConstantsError, match=r"another kernel's.*000102") as caught:
        read_kernel(WANTED, vmlinux=kernel(LAB), root=root)
    assert "\n" not in str(caught.value)


def test_a_vmlinux_without_kallsyms_is_rejected_with_what_to_do(tmp_path):
    root = running(tmp_path, LAB, core=False)
    (root / "proc/kallsyms").unlink()
    with pytest.raises(ConstantsError, match="read /proc/kallsyms as root"):
        read_kernel(WANTED, vmlinux=kernel(LAB), root=root)


def test_a_file_that_is_not_a_vmlinux_is_rejected(tmp_path):
    root = running(tmp_path / "root", LAB)
    (tmp_path / "file").write_bytes(b"hello")
    with pytest.raises(ConstantsError):
        read_kernel(WANTED, vmlinux=tmp_path / "file", root=root)


def test_nothing_shown_is_nothing_known_with_reasons(tmp_path):
    found = read_kernel(WANTED, root=tmp_path)
    assert (found.names, found.text, found.prototypes) == (None, None, {})
    assert sorted(found.missing) == ["btf", "kallsyms", "text"]
    assert found.missing["btf"] == "No such file or directory"
    assert "kcore" in found.missing["text"]
    found.close()


def test_hidden_addresses_are_a_reason(tmp_path):
    root = running(tmp_path, LAB)
    lines = (root / "proc/kallsyms").read_text().splitlines()
    (root / "proc/kallsyms").write_text("".join(f"{0:016x}{line[16:]}\n" for line in lines))
    found = read_kernel(WANTED, root=root)
    assert found.names is None
    assert "hidden" in found.missing["kallsyms"]
    assert "hidden" in found.missing["text"]
    found.close()


def test_damaged_btf_is_a_reason_and_costs_nothing_else(tmp_path):
    root = running(tmp_path, LAB, slide=-0x4000000, btf=BTF_6_1[:-40])
    found = read_kernel(WANTED, root=root)
    assert found.prototypes == {}
    assert list(found.missing) == ["btf"]
    assert found.text is not None
    found.close()


def test_on_x86_64_no_code_is_read(tmp_path, monkeypatch):
    own = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*own[:4], "x86_64")))
    found = read_kernel(WANTED, root=running(tmp_path, LAB))
    assert found.text is None
    assert "x86_64" in found.missing["text"]
