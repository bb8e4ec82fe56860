# SPDX-License-Identifier: GPL-2.0-only
"""Audits in booted kernels: each source against devpriv's own parameters and the kernel's lists."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.lab.harness import Boot, Kernel, Lab

GIB: Final = 1 << 30
#: The 39-bit lab kernel (kcore-vmcoreinfo): 4 KiB pages, struct page of 64 bytes, RAM at 1 GiB.
VMEMMAP: Final = 0xFFFFFFFE00000000 - (0x40000000 >> 12) * 64
TABLES: Final = ("kernel_page_tables", "swapper_pg_dir")


def fields(boot: Boot, scene: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(boot.text(f"{scene}.json"))
    assert boot.text(f"{scene}.err") == ""
    assert made["problems"] == []
    assert made["agree"]
    return made


def pages_of(start: int, size: int) -> dict[str, Any]:
    first = VMEMMAP + (start >> 12) * 64
    return {"start": f"0x{first:016x}", "end": f"0x{first + size // 64:016x}", "size": size // 64}


def region(made: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (each for each in made["regions"] if each["name"] == name)
    return found


def seen(size: int, *tables: str) -> dict[str, Any]:
    """All of it, by every source that there is."""
    return {
        "page_tables": dict.fromkeys(tables, size // 64),
        "sections": size >> 12,
        "iomem": True,
    }


@pytest.fixture(scope="module")
def lab_61(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    return lab.boot(lab_kernel("6.1"), "audit.sh")


def test_without_a_device(lab_61: Boot) -> None:
    made = fields(lab_61, "none")
    assert (lab_61.exit_code("none"), made["verdict"], made["regions"]) == (0, "clean", [])
    assert (made["log"]["warnings"], made["log"]["hits"]) == (0, 0)
    # 2 GiB of RAM, in sections of 128 MiB
    assert made["memory"]["sections"] == 16
    assert made["memory"]["online_pages"] == 2 * GIB >> 12
    assert made["memory"]["pfn_0"] == [f"0x{VMEMMAP:016x}"]


def test_a_device_inside(lab_61: Boot) -> None:
    made = fields(lab_61, "inside")
    assert (lab_61.exit_code("inside"), made["verdict"]) == (0, "clean")
    (row,) = made["regions"]
    assert (row["name"], row["owner"]) == ("devpriv", "device-private, module devpriv")
    assert (row["regime"], row["outside"]) == ("inside", False)
    assert row["struct_pages"] == pages_of(0x2000000000, GIB)
    assert row["seen_by"] == seen(GIB, *TABLES)


@pytest.mark.parametrize(("scene", "tables"), [("outside", TABLES), ("kcore-only", TABLES[1:])])
def test_in_the_hole_and_below_ram(lab_61: Boot, scene: str, tables: tuple[str, ...]) -> None:
    made = fields(lab_61, scene)
    assert (lab_61.exit_code(scene), made["verdict"]) == (1, "out-of-range")
    hole, below = region(made, "devpriv"), region(made, "devprib")
    assert hole["physical"] == {"start": "0x0000005000000000", "end": "0x0000005100000000"}
    assert hole["struct_pages"] == pages_of(0x5000000000, 4 * GIB)
    assert (hole["regime"], hole["lands_on"]) == ("above", "unused")
    assert hole["seen_by"] == seen(4 * GIB, *tables)
    assert below["physical"] == {"start": "0x0000000000000000", "end": "0x0000000008000000"}
    assert below["struct_pages"] == pages_of(0, 128 << 20)
    assert (below["regime"], below["lands_on"]) == ("below", "PCI I/O")
    assert below["seen_by"] == seen(128 << 20, *tables)
    assert made["outside_bytes"] == (4 * GIB) + (128 << 20)
    # a section each of 128 MiB: 32 + 1, and the kernel warned at every one
    assert (made["log"]["warnings"], made["log"]["hits"]) == (33, 33)
    assert len(re.findall("vmemmap_populate\\+0x40", lab_61.text(f"{scene}.dmesg"))) >= 33


def test_one_is_freed_and_one_stays(lab_61: Boot) -> None:
    made = fields(lab_61, "freed")
    assert lab_61.exit_code("freed") == 1
    (row,) = made["regions"]
    assert (row["name"], row["outside"]) == ("devprib", True)
    (gone,) = made["gone"]
    assert gone["start"] == pages_of(0x5000000000, 4 * GIB)["start"]
    assert (gone["populate"], gone["free"]) == (32, 32)


def test_a_recording_tells_what_was_before_it_and_what_is_gone(lab_61: Boot) -> None:
    text = lab_61.text("carried.text")
    assert "before: 4.12 GiB (devpriv, devprib) had struct pages outside the window" in text
    assert "since boot, by the kernel log: 33 WARNs, 33 calls outside" in text
    ours = lab_61.recording("carried")
    assert ours.closing is not None
    before, after = ours.header["audit"], ours.closing["audit"]
    assert [each["name"] for each in before["outside"]] == ["devpriv", "devprib"]
    assert [each["name"] for each in after["outside"]] == ["devprib"]
    assert before["log"] == {"warnings": 33, "hits": 33, "faults": 0}
    assert after["log"] == {"warnings": 65, "hits": 65, "faults": 0}  # 32 frees warned, too
    assert len(ours.of("free")) == 32


def test_all_are_gone(lab_61: Boot) -> None:
    made = fields(lab_61, "gone")
    # what was since boot is told, and nothing is mapped any more
    assert (lab_61.exit_code("gone"), made["regions"]) == (1, [])
    assert (made["log"]["warnings"], made["log"]["hits"]) == (66, 66)


def test_our_walk_is_the_kernels_own_dump(lab_61: Boot) -> None:
    """Where memory is mapped in the window and behind it, by the kernel's text of the moment."""
    for scene in ("none", "inside", "outside", "freed", "gone"):
        made = fields(lab_61, scene)
        for row in made["regions"]:
            own, kernels = (row["seen_by"]["page_tables"][name] for name in reversed(TABLES))
            assert own == kernels == row["struct_pages"]["size"]
        shown = re.findall(
            r"^0x(ffffffff[0-9a-f]{8})-0x([0-9a-f]{16}).* MEM/NORMAL",
            lab_61.text(f"{scene}.page_tables"),
            re.MULTILINE,
        )
        behind = sum(int(end, 16) - int(start, 16) for start, end in shown)
        above = [row for row in made["regions"] if row["regime"] == "above"]
        assert behind == sum(row["struct_pages"]["size"] for row in above)


@pytest.mark.long
@pytest.mark.parametrize(
    "label",
    [
        pytest.param(label, marks=pytest.mark.xdist_group(f"audit-6.12-{label}"))
        for label in ("first", "second")
    ],
)
def test_each_boot_by_its_own_kaslr(
    lab: Lab, lab_kernel: Callable[[str], Kernel], label: str
) -> None:
    boot = lab.boot(lab_kernel("6.12"), "audit.sh", label=label)
    note = (boot.out / "kcore.head").read_bytes().decode("latin-1")
    values = [
        int(re.search(rf"NUMBER\({name}\)=(0x[0-9a-f]+)", note)[1], 16)  # type: ignore[index]
        for name in ("VMEMMAP_START", "PHYS_OFFSET")
    ]
    memstart = values[1] - (1 << 64 if values[1] >> 63 else 0)
    vmemmap = values[0] - (memstart >> 12) * 64
    for scene in ("none", "inside", "gone"):
        made = fields(boot, scene)
        assert (boot.exit_code(scene), made["verdict"]) == (0, "clean")
        assert made["memory"]["pfn_0"] == [f"0x{vmemmap:016x}"]
    (row,) = fields(boot, "inside")["regions"]
    assert row["seen_by"] == seen(GIB, *TABLES)
    assert int(row["struct_pages"]["start"], 16) == vmemmap + (0x2000000000 >> 12) * 64


@pytest.mark.long
@pytest.mark.parametrize(
    "series",
    [
        pytest.param(series, marks=pytest.mark.xdist_group(f"audit-{series}"))
        for series in ("6.1", "6.12", "7.x")
    ],
)
def test_stock_kernels_by_kcore_alone(
    lab: Lab, debian: Callable[[str], Kernel], series: str
) -> None:
    boot = lab.boot(debian(series), "audit-stock.sh", memory=True, timeout_s=600)
    before, plugged = fields(boot, "none"), fields(boot, "plugged")
    for scene, made, size in (("none", before, 2 * GIB), ("plugged", plugged, 3 * GIB)):
        assert (boot.exit_code(scene), made["verdict"]) == (0, "clean")
        assert made["memory"]["online_pages"] == size >> 12
        # memory blocks are sections here, of 128 MiB
        blocks = re.findall(r"^memory\d+$", boot.text(f"{scene}.blocks"), re.MULTILINE)
        assert made["memory"]["sections"] == len(blocks)
        assert made["sources"]["kernel_page_tables"]["missing"]
        for source in ("swapper_pg_dir", "mem_section", "iomem", "kernel log", "vmalloc areas"):
            assert made["sources"][source]["missing"] is None


@pytest.mark.long
@pytest.mark.xdist_group("audit-lockdown")
def test_under_lockdown_each_source_says_what_it_could_not_read(
    lab: Lab, debian: Callable[[str], Kernel]
) -> None:
    boot = lab.boot(
        debian("7.x"),
        "audit-stock.sh",
        append="lockdown=confidentiality",
        memory=True,
        label="lockdown",
        timeout_s=900,
    )
    made = json.loads(boot.text("plugged.json"))
    assert "[confidentiality]" in boot.text("lockdown")
    assert (boot.exit_code("plugged"), made["verdict"]) == (3, "inconclusive")
    for source in ("swapper_pg_dir", "mem_section"):
        assert "locked down" in made["sources"][source]["missing"]
    assert made["sources"]["iomem"]["missing"] is None
    assert made["sources"]["kernel log"]["missing"] is None
