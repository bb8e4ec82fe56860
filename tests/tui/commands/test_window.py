# SPDX-License-Identifier: GPL-2.0-only
"""``window`` and ``explain``: what they print, and their exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.format.writer import Writer
from recordings.ledger.whole import fold
from tests.kernels.files import LAB, kernel
from tests.recordings import oops
from tests.recordings.made import record
from tests.recordings.plain import batch
from tests.tui.commands.test_main import loaded_by
from tests.tui.in_process import as_json, error_of, run, stdout_of
from tui.commands.window import explain, window

SIZES = ("--va-bits", "39", "--page-size", "4K", "--struct-page", "64")
MAIL = (*SIZES, "--memstart", "0x80_0000_0000")
DEBIAN_52 = ("--va-bits", "52", "--page-size", "4K", "--struct-page", "64", "--release", "6.12.117")


# -- the calculator ---------------------------------------------------------------------------


def test_the_mail_in_full() -> None:
    words = " ".join(stdout_of(window, *MAIL, "--release", "6.1").split())
    for part in (
        "memstart_addr 0x8000000000",
        "PAGE_OFFSET 0xffffff8000000000",
        "VMEMMAP_SHIFT 6",
        "VMEMMAP_START 0xfffffffe00000000",
        "VMEMMAP_SIZE 0x100000000",
        "pfn < 0x8000000 below: vmalloc",
        "0x8000000 <= pfn < 0xc000000 inside: vmemmap",
        "0xc000000 <= pfn < 0x10000000 above: unused",
        "pfn >= 0x10000000 wrapped: user half",
    ):
        assert part in words


@pytest.mark.parametrize(
    "numbers",
    [
        ("--va-bits", "0x27", "--page-size", "4096", "--struct-page", "64", "--memstart", "512G"),
        ("--va-bits", "39", "--page-size", "4KiB", "--struct-page", "64", "--ram", "0x8000000000"),
        ("--va-bits=39", "--page-size=0x1000", "--struct-page=0x40", "--memstart=549755813888"),
    ],
)
def test_numbers_in_other_forms_make_the_same_window(numbers: tuple[str, ...]) -> None:
    found = as_json(*numbers, "--release", "6.1")
    assert (found["start"], found["end"]) == ("0xfffffffe00000000", "0xffffffff00000000")
    assert found["memstart"] == "0x0000008000000000"
    assert found["phys"] == {"start": "0x8000000000", "end": "0xc000000000"}


def test_hubbards_machine() -> None:
    sizes = ("--va-bits", "48", "--page-size", "4K", "--struct-page", "64")
    numbers = (*sizes, "--memstart", "0x8000_0000", "--release", "6.3")
    found = as_json(*numbers, "--cover", "0xffec38000000+16G")
    assert (found["start"], found["end"]) == ("0xfffffc0000000000", "0xfffffe0000000000")
    assert found["cover"]["start_page"] == "0xffffffffaee00000"
    assert found["cover"]["covered"] is False
    text = stdout_of(explain, "0xffffffffaee00000", *numbers)
    assert "pfn of start = (start - vmemmap) / 64 = 0xffec38000" in text
    assert "regime: above" in text


def test_without_a_release_all_families_stand_side_by_side() -> None:
    text = stdout_of(window, *MAIL)
    for family in ("6.9+", "5.11-6.8", "5.4-5.10", "4.14-5.3"):
        assert f"  {family} " in text
    found = as_json(*MAIL)
    assert found["start"] is None
    assert found["families"]["5.11-6.8"]["start"] == "0xfffffffe00000000"
    assert found["families"]["6.9+"]["end"] == "0xffffffffc0000000"


def test_debians_52_bit_kernel_on_a_48_bit_cpu() -> None:
    found = as_json(*DEBIAN_52, "--ram", "1G", "--vabits-actual", "48")
    assert (found["start"], found["end"]) == ("0xffffc1ffc0000000", "0xffffffffc0000000")
    assert found["used"] == {"start": "0xfffffdffc0000000", "end": "0xffffffffc0000000"}
    # 7bc1a0f9e176: memstart_addr moves down by 2^52 - 2^48
    assert int(found["memstart"], 16) == (0x4000_0000 - (1 << 52) + (1 << 48)) % 2**64
    # RAM from 1 GiB on is what the part in use holds
    assert [s["pfn"] for s in found["pfns"] if s["in_use"]] == ["0x40000"]
    assert (found["pfns"][0]["regime"], found["pfns"][0]["silent"]) == ("below", True)
    assert found["pfns"][0]["lands_on"] == "vmalloc + guard hole"
    blind = {"start": found["start"], "end": found["used"]["start"], "phys_below": "0x40000000"}
    assert found["blind"] == blind
    assert as_json(*DEBIAN_52, "--ram", "1G", "--vabits-actual", "52")["blind"] is None


def test_cover_prints_sentences() -> None:
    words = " ".join(
        stdout_of(
            window, *MAIL, "--release", "6.1", "--cover", "0xc0_0000_0000..0xc4_0000_0000"
        ).split()
    )
    assert "NOT COVERED no struct page of 16 GiB at 0xc000000000 - 0xc400000000" in words
    assert "VMEMMAP_SIZE must be 0x110000000" in words
    inside = stdout_of(window, *MAIL, "--release", "6.1", "--cover", "512G+256G")
    assert "\nCOVERED  all struct pages" in inside
    lpa2 = " ".join(stdout_of(window, *DEBIAN_52, "--ram", "1G", "--cover", "0+4G").split())
    assert "Tricky with LPA2" in lpa2


def test_negative_memstart_as_vmcoreinfo_and_as_people_write_it() -> None:
    sizes = ("--va-bits", "48", "--page-size", "4K", "--struct-page", "64", "--release", "6.12")
    for text in ("0xffffc6fb80000000", "-0x390480000000"):
        found = as_json(*sizes, "--memstart", text)
        # the capture's own SYMBOL(vmemmap)
        assert found["vmemmap"] == "0xfffffee3d2000000"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "--va-bits, --page-size, --struct-page missing"),
        (("--va-bits", "39"), "--page-size, --struct-page missing"),
        ((*SIZES, "--release", "x"), "no kernel version"),
        ((*SIZES, "--release", "4.9"), "before 4.14"),
        (("--va-bits", "64", "--page-size", "4K", "--struct-page", "64"), "va_bits = 64"),
        (("--va-bits", "39", "--page-size", "5K", "--struct-page", "64"), "page_size = 5120"),
        (("--va-bits", "39", "--page-size", "4Q", "--struct-page", "64"), "is no number"),
        (("--va-bits", "39", "--page-size", "4K", "--struct-page", "9G"), "struct_page"),
        ((*MAIL, "--ram", "1"), "--memstart and --ram"),
        ((*SIZES, "--cover", "0..1G"), "--cover needs --memstart"),
        ((*MAIL, "--cover", "1G"), "is no range"),
        ((*MAIL, "--cover", "0..0x20000000000000"), "at most 52 bits"),
        ((*SIZES, "--vabits-actual", "48"), "no 48 bits in use"),
        ((*SIZES, "--vabits-actual", "3"), "vabits_actual = 3"),
        (("--system-map", "x"), "name that, too"),
        (("--live", *SIZES), "--va-bits, --page-size, --struct-page: a kernel says that itself"),
    ],
)
def test_what_is_at_fault_is_named(args: tuple[str, ...], message: str) -> None:
    assert message in error_of(window, *args)


# -- explain ----------------------------------------------------------------------------------


def test_each_argument_is_explained_and_how_it_was_understood() -> None:
    text = stdout_of(
        explain, "0xffffffff3f000000", "pfn:0x10000000", "phys:512G", *MAIL, "--release", "6.1"
    )
    words = " ".join(text.split())
    assert "0xffffffff3f000000 understood as an address: it is in the kernel half" in words
    assert "pfn:0x10000000 understood as a pfn: prefix pfn:" in words
    assert "phys:512G understood as a physical address: prefix phys:" in words
    regimes = [line.split()[1] for line in text.splitlines() if "regime:" in line]
    assert regimes == ["above", "wrapped", "inside"]
    assert "struct page of pfn 0x8000000 = vmemmap + pfn * 64 = 0xfffffffe00000000" in words


def test_as_says_what_all_arguments_are() -> None:
    text = stdout_of(explain, "0x8000000", "0xc000000", "--as", "pfn", *MAIL, "--release", "6.1")
    assert text.count("understood as a pfn: --as pfn") == 2


def test_nothing_is_guessed() -> None:
    message = error_of(explain, "0x8000000", *MAIL, "--release", "6.1")
    assert "say --as, or write addr:0x8000000, pfn:0x8000000 or phys:0x8000000" in message


def test_explain_with_a_sample_and_with_a_machines_folder(captures: Path) -> None:
    for spec in ("sample:storm", str(captures / "6.1.192-vmemlab-39bit")):
        # the first section of the storm: 16 GiB at 0x5000000000 in the hole
        text = stdout_of(explain, "0xffffffff3f000000", "--window", spec)
        assert "physical address = pfn << 12 = 0x5000000000" in text
        assert "lands on: unused" in text


def test_explain_with_a_recording_whose_window_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    with Writer(path, Header()):
        pass
    done = run(explain, "pfn:1", "--window", path)
    assert (done.exit_code, done.stdout) == (3, "")
    assert "its window is not known: nothing in it says it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("pfn:1",), "--va-bits"),
        (("pfn:1", *MAIL), "say --release or --window"),
        (("pfn:1", "--window", "sample:nope"), "storm-once"),
        (("pfn:1", "--window", "/nonexistent"), "cannot be opened"),
        (("pfn:1", "--window", "sample:storm", "--va-bits", "39"), "--window says that itself"),
        (("pfn:1", *SIZES, "--release", "6.1"), "memstart is not known"),
        ((), "Missing argument"),
    ],
)
def test_what_explain_lacks_is_named(args: tuple[str, ...], message: str) -> None:
    assert message in error_of(explain, *args)


# -- the process ------------------------------------------------------------------------------


def process(*args: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import atexit, sys\n"
        "from tui.program import main\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
        "main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )


@pytest.mark.parametrize("args", [("window", *MAIL), ("explain", "--help"), ("window", "--help")])
def test_the_calculator_loads_no_textual_pandas_or_capstone(args: tuple[str, ...]) -> None:
    done = process(*args)
    assert done.returncode == 0
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "click" in loaded
    assert not {"textual", "pandas", "capstone", "pyarrow", "numpy"} & loaded
    if "--help" in args:
        assert "rich" not in loaded


def test_the_running_kernel_s_window_loads_what_its_methods_need() -> None:
    """What is imported in a guest, file by file over 9p, is most of what this takes there."""
    others = {"textual", "pandas", "pyarrow", "flatbuffers"}
    # as --live does it, on any machine
    assert {"capstone", "rich"} < (loaded := loaded_by("window", str(kernel(LAB))))
    assert not (others - {"flatbuffers"}) & loaded  # that one looks whether it is a recording
    others_yet = {*others, "rich"} - {"flatbuffers"}
    assert not others_yet & loaded_by("window", str(kernel(LAB)), "--json")
    assert not {*others, "rich"} & loaded_by("window", "--live", "--json")
    commands = {f"tui.commands.{name}" for name in ("check", "doctor", "export", "record")}
    assert not commands & set(process("window", "--live").stderr.split())


def test_an_impossible_number_exits_with_two_and_one_line() -> None:
    done = process("window", "--va-bits", "64", "--page-size", "4K", "--struct-page", "64")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vmemscope: no arm64 kernel has va_bits = 64\n")


def test_a_kernel_s_window_loads_no_more_than_it_needs() -> None:
    loaded = loaded_by("window", str(kernel(LAB)))
    assert "capstone" in loaded  # it did look into the kernel
    assert not {"textual", "pandas", "pyarrow"} & loaded


def test_the_address_of_an_oops_gives_the_page_that_its_register_holds(tmp_path: Path) -> None:
    """The log says 0x1ffb2000034: 52 bytes into a struct page; x1 is the page frame number."""
    path = tmp_path / "oops.arrows"
    record(path, [batch(oops.rows(0))], oops.HEADER)
    text = stdout_of(explain, f"{oops.PAGE + 0x34:016x}", "--window", str(path))
    assert "0x000001ffb2000034 is 52 bytes into a struct page" in text
    assert f"pfn of start = (start - vmemmap) / 64 = 0x{oops.PFN:x}" in text
    with open_recording(path) as recording:
        assert [fault.pfn for fault in fold(recording).faults] == [oops.PFN]
