# SPDX-License-Identifier: GPL-2.0-only
"""``window --fit``: what it prints, and its exit codes. Boots: tests/lab/test_fit.py."""

from pathlib import Path

import pytest

from tests.tui.in_process import as_json, error_of, stdout_of
from tui.commands.window import window

OLD, NEW = "6.1.192-vmemlab-39bit", "6.12.117-vmemlab-48bit"


def words(*args: str | Path, code: int = 0) -> str:
    return " ".join(stdout_of(window, *args, code=code).split())


def test_it_fits(captures: Path) -> None:
    for where in (("--machine", captures / NEW), (captures / NEW,)):
        told = words(*where, "--fit", "16G", "--pa-range", "44")
        assert "FITS 16 GiB would lie at 0x" in told
        assert "all its struct pages in the window" in told
        assert "fits and is covered in 100 % of boots, of all 65536 seeds" in told
    found = as_json(captures / NEW, "--fit", "16G")
    assert (found["fit"]["result"], found["fit"]["asked"]) == ("covered", 16 << 30)
    assert found["search"]["physmem_bits"] == 48
    assert found["fit"]["boots"][0]["fits"] == 65536


def test_it_would_lie_outside(captures: Path) -> None:
    told = words(captures / OLD, "--fit", "1G", code=1)
    # where it panicked: tests/captures, wrap.console.txt
    assert "OUTSIDE 1 GiB would lie at 0xffffc0000000 - 0x1000000000000" in told
    assert "its struct pages wrapped, on user half" in told
    assert "0x000003fdfe000000 - 0x000003fdff000000" in " ".join(told.split())
    found = as_json(captures / OLD, "--fit", "1G", code=1)["fit"]
    assert (found["regime"], found["largest_covered"]) == ("wrapped", 0)


def test_it_is_refused(captures: Path) -> None:
    told = words(captures / NEW, "--fit", "127T", code=1)
    assert "REFUSED request_free_mem_region() has no place for 127 TiB: -ERANGE." in told
    found = as_json(captures / NEW, "--fit", "127T", code=1)["fit"]
    assert (found["result"], found["phys"], found["pages"]) == ("refused", None, None)
    assert found["largest"] < 127 << 40


def test_it_is_not_known() -> None:
    sizes = ("--va-bits", "48", "--page-size", "4K", "--struct-page", "64", "--release", "6.12")
    told = words(*sizes, "--ram", "1G", "--fit", "16G", code=3)
    assert "NOT KNOWN what is in the way is not known: no /proc/iomem" in told
    found = as_json(*sizes, "--ram", "1G", "--fit", "16G", code=3)["fit"]
    assert found["result"] == "unknown"
    assert "iomem" in found["why"]
    assert as_json(*sizes)["fit"] is None


@pytest.mark.parametrize("size", ["0", "8192T", "ten"])
def test_sizes_that_are_none(captures: Path, size: str) -> None:
    error_of(window, captures / NEW, "--fit", size)


def test_pa_range_alone(captures: Path) -> None:
    assert "--pa-range is for --fit" in error_of(window, captures / NEW, "--pa-range", "44")


def test_a_kernel_and_a_machine_together(captures: Path) -> None:
    assert "cannot be read" in error_of(window, "--machine", captures / "nowhere", "--fit", "1G")
