# SPDX-License-Identifier: GPL-2.0-only
"""Dumps of a guest's memory, made by QEMU: what they say is what the guest itself said."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.harness import DUMPS, TOP, Boot, Kernel, Lab, read
from tracers.constants.core_file import Core
from tracers.constants.resources import iomem_text
from tracers.logs.printk_ring import PrintkRing


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("6.1", marks=[pytest.mark.long, pytest.mark.xdist_group("dump-6.1")]),
        *(
            pytest.param(name, marks=[pytest.mark.long, pytest.mark.xdist_group(f"dump-{name}")])
            for name in ("6.12", "debian-6.1", "debian-6.12", "7.3-64k", "7.3-64k-lva")
        ),
    ],
)
def dumped(
    request: pytest.FixtureRequest,
    lab: Lab,
    lab_kernel: Callable[[str], Kernel],
    debian: Callable[[str], Kernel],
) -> Boot:
    name = str(request.param).removesuffix("-lva")
    stock = name.removeprefix("debian-")
    kernel = lab_kernel(name) if stock == name else debian(stock)
    cpu = "max,pauth-impdef=on" if request.param != name else ""
    large = "64k" in name  # a section has 512 MiB
    append = "nokaslr" if large else ""  # the device is below the first RAM
    return lab.boot(kernel, "dump.sh", dump="1G" if large else "512M", cpu=cpu, append=append)


@pytest.fixture(scope="module")
def panicked(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    boot = lab.boot(lab_kernel("6.1"), "dump_panic.sh", append="oops=panic panic=0", dump="512M")
    assert "Kernel panic - not syncing: Oops: Fatal exception" in boot.console
    return boot


def vmemscope(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vmemscope", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=TOP,
    )


@pytest.mark.parametrize("form", DUMPS)
def test_log_note_and_resources_are_the_guests_own(dumped: Boot, form: str) -> None:
    with Core(dumped.dump(f"dump.{form}")) as core:
        note = (dumped.out / "kcore.head").read_bytes()
        note = note[note.index(b"OSRELEASE=") :].partition(b"\0")[0]
        assert core.vmcoreinfo.encode().rstrip(b"\0") == note
        # stock kernels tell QEMU where their note is; for the lab's there is no driver of fw_cfg
        assert (core.vmcoreinfo_at is None) is ("vmemlab" not in core.vmcoreinfo)
        ring = PrintkRing(core)
        assert b"".join(ring.lines()).decode() == dumped.text("dump.dmesg")
        assert ring.lost == 0
        assert iomem_text(core) == dumped.text("iomem")


@pytest.mark.parametrize("form", DUMPS)
def test_its_import_is_that_of_the_guests_dmesg(dumped: Boot, tmp_path: Path, form: str) -> None:
    dump = dumped.dump(f"dump.{form}")
    with Core(dump) as core:
        (tmp_path / "kcore-vmcoreinfo").write_text(core.vmcoreinfo)
    (tmp_path / "iomem").write_text(dumped.text("iomem"))
    theirs, ours = tmp_path / "theirs.arrows", tmp_path / "ours.arrows"
    log = dumped.out / "dump.dmesg"
    assert vmemscope("import", log, "-o", theirs, "--machine", tmp_path).returncode == 0
    done = vmemscope("import", dump, "-o", ours)
    assert (done.returncode, "0 of it lost" in done.stderr) == (0, True)
    one, other = read(theirs), read(ours)
    assert one.rows == other.rows
    assert one.header["machine"]["window"] == other.header["machine"]["window"]
    assert one.header["machine"]["iomem"] == other.header["machine"]["iomem"]
    if "Linux version 6.1.192-vmemlab" in log.read_text():
        starts = [row["start"] for row in other.of("populate", None)]
        # 16 sections of 2 GiB at 0x5000000000, twice the first 8: 2 MiB of struct pages each
        vmemmap = 0xFFFFFFFE00000000 - (0x40000000 >> 12) * 64
        first = vmemmap + (0x5000000000 >> 12) * 64
        assert starts == [first + at * 0x200000 for at in (*range(16), *range(8))]


@pytest.mark.parametrize("form", DUMPS)
def test_its_audit_is_that_of_the_guest(dumped: Boot, form: str) -> None:
    done = vmemscope("audit", dumped.dump(f"dump.{form}"), "--json")
    ours, theirs = json.loads(done.stdout), json.loads(dumped.text("audit.json"))
    assert (done.stderr, dumped.text("audit.err")) == ("", "")
    assert done.returncode == {"out-of-range": 1, "clean": 0}[theirs["verdict"]]
    for key in ("verdict", "verdict_reasons", "outside_bytes", "problems", "memory", "headroom"):
        assert ours[key] == theirs[key], key
    assert ours["log"]["warnings"] == theirs["log"]["warnings"]
    assert ours["log"]["outside"] == theirs["log"]["outside"]
    for mine, guests in zip(ours["regions"], theirs["regions"], strict=True):
        # the guest has debugfs and /proc/modules, too
        assert guests["owner"] in (mine["owner"], f"{mine['owner']}, module devpriv")
        kernels = guests["seen_by"]["page_tables"].pop("kernel_page_tables", None)
        assert kernels in (None, mine["seen_by"]["page_tables"]["swapper_pg_dir"])
        assert {**mine, "owner": ""} == {**guests, "owner": ""}


@pytest.mark.long
@pytest.mark.parametrize("form", DUMPS)
def test_what_a_panic_left_mapped(panicked: Boot, form: str) -> None:
    """1 GiB at the top of 48 bits: its struct pages wrap, and lie over the PCI I/O registers."""
    done = vmemscope("audit", panicked.dump(f"panic.{form}"), "--json")
    made = json.loads(done.stdout)
    assert (done.returncode, made["problems"]) == (1, [])
    assert made["log"]["faults"] == 1
    assert made["log"]["warnings"] == 8
    (row,) = made["regions"]
    assert row["physical"] == {"start": "0x0000ffffc0000000", "end": "0x0001000000000000"}
    assert row["struct_pages"]["start"] == "0x000003fdfe000000"
    assert (row["regime"], row["mapped_at"]) == ("wrapped", "0xfffffffdfe000000")
    # 16 MiB, less the 2 MiB in which the registers' own table was
    assert row["seen_by"]["page_tables"] == {"swapper_pg_dir": 14 << 20}
    assert row["also_there"][0].startswith("0xfffffffdfe800000 - ")


@pytest.mark.long
@pytest.mark.parametrize("form", DUMPS)
def test_a_panic_is_told_by_the_dump(panicked: Boot, form: str) -> None:
    dump = panicked.dump(f"panic.{form}")
    with Core(dump) as core:
        lines = b"".join(PrintkRing(core).lines()).decode().splitlines()
    console = re.findall(r"^\[ *\d+\.\d{6}\] .*$", panicked.console.replace("\r", ""), re.MULTILINE)
    assert console[-1].endswith("---[ end Kernel panic - not syncing: Oops: Fatal exception ]---")
    assert len(console) > 200
    rest = iter(lines)  # the console leaves out what is for debugging
    assert all(line in rest for line in console)
    done = vmemscope("triage", dump, "--json")
    assert done.returncode == 1, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)["files"][0]["readings"][0]["report"]
    (fault,) = report["faults"]["listed"]
    assert (fault["pfn"], fault["regime"]) == (0xFFFFC0000, "wrapped")
    assert report["warnings"]["total"] == 8
