# SPDX-License-Identifier: GPL-2.0-only
"""``report`` in its formats and with its what-ifs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from recordings.format.header import Header
from recordings.format.writer import Writer
from recordings.samples import sample_names, sample_path
from tests.recordings.format import test_parts as parts
from tests.recordings.numbered import changed
from tests.tui.commands.test_main import loaded_by, modules_of, one_line, vmemscope
from tracers.machine import Machine
from tui.commands.check import check
from tui.commands.report import FORMATS, report


@pytest.mark.parametrize("output_format", ["text", "json", "markdown", "lkml"])
def test_every_format_has_the_verdict_s_code(output_format: str) -> None:
    done = vmemscope("report", "sample:storm", "--format", output_format)
    assert (done.returncode, done.stderr) == (1, "")
    assert "0xffffffff3f000000" in done.stdout
    assert vmemscope("report", "sample:in-range-6.12", "--format", output_format).returncode == 0


def test_json_is_the_same_by_either_name() -> None:
    by_format, alias = (
        vmemscope("report", "sample:storm", *args).stdout
        for args in (("--format", "json"), ("--json",))
    )
    assert by_format == alias
    assert json.loads(alias)["what_if"] is None


def test_a_mail_is_made_to_be_pasted() -> None:
    text = vmemscope("report", "sample:storm", "--format", "lkml").stdout
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 75
    assert "device region\nstarts at 320 GiB" in text


@pytest.mark.parametrize(
    ("sample", "args", "code", "verdict"),
    [
        ("storm", ("--warn", "once"), 1, "out-of-range"),
        ("storm", ("--warn", "error"), 0, "clean"),
        ("storm", ("--physmem-end", "linear"), 0, "clean"),
        ("storm", ("--physmem-end", "0x5400_0000_00"), 1, "out-of-range"),
        ("storm", ("--physmem-end", "8G"), 3, "inconclusive"),
        ("storm", ("--va-bits", "48"), 0, "clean"),
        ("storm", ("--memstart", "0x8000000000"), 1, "out-of-range"),
        ("storm", ("--memstart", "0x5000000000"), 0, "clean"),
        ("storm", ("--window-of", "sample:in-range-6.12"), 0, "clean"),
        ("in-range-6.12", ("--window-of", "sample:below-6.1"), 0, "clean"),
        ("below-6.12", ("--window-of", "sample:below-6.1"), 1, "out-of-range"),
        ("in-range-6.12", ("--va-bits", "39"), 0, "clean"),
    ],
)
def test_the_code_is_the_hypothetical_verdict_s(sample, args, code, verdict) -> None:
    done = vmemscope("report", f"sample:{sample}", *args, "--json")
    assert (done.returncode, done.stderr) == (code, "")
    fields = json.loads(done.stdout)
    assert fields["what_if"]["hypothetical"] is True
    assert fields["what_if"]["verdict"] == verdict
    # the recording's own stays what it was
    plain = json.loads(vmemscope("report", f"sample:{sample}", "--json").stdout)
    assert {**fields, "what_if": None} == plain


@pytest.mark.parametrize("page_size", ["4K", "16K", "64K"])
@pytest.mark.parametrize("release", ["4.19", "5.10", "5.11", "6.1", "6.12"])
def test_ram_given_or_recorded_makes_the_same_memstart(
    tmp_path: Path, release: str, page_size: str
) -> None:
    path = tmp_path / "made.arrows"
    machine = Machine(iomem=((0x6000_0000, 0xDFFF_FFFF, "System RAM"),))
    Writer(path, Header(machine=machine), fsync=False).close()
    args = (
        "--page-size",
        page_size,
        "--va-bits",
        "48",
        "--struct-page",
        "64",
        "--release",
        release,
    )
    memstarts = {
        json.loads(vmemscope("report", path, *args, *ram, "--json").stdout)["what_if"]["window"][
            "memstart"
        ]
        for ram in ((), ("--ram", "0x60000000"))
    }
    # 64K pages from 5.12 on: 512 MiB sections and blocks; all others round down to 1 GiB
    fine = page_size == "64K" and release in {"6.1", "6.12"}
    assert memstarts == {"0x0000000060000000" if fine else "0x0000000040000000"}


def test_a_kernel_s_image_gives_the_window_and_the_recording_the_ram(captures: Path) -> None:
    image = captures.parent / "kernels" / "debian-6.1.0-56-48bit-4k.elf"
    done = vmemscope("report", "sample:storm", "--window-of", image, "--json")
    fields = json.loads(done.stdout)["what_if"]
    assert done.returncode == 0
    # kernel-facts: Debian's 6.1.0-56-arm64
    assert fields["window"]["start"] == "0xfffffc0000000000"
    assert fields["window"]["end"] == "0xfffffe0000000000"
    # System RAM begins at 0x40000000 in the capture's iomem
    assert fields["window"]["memstart"] == "0x0000000040000000"
    assert fields["window"]["provenance"]["memstart"] == (
        "the recording's RAM, formula without KASLR"
    )
    assert fields["supposed"]["window_of"] == str(image)


def test_text_says_first_that_it_is_hypothetical() -> None:
    text = vmemscope("report", "sample:storm", "--warn", "error").stdout
    first, *_ = text.splitlines()
    assert first == "WHAT IF    populating outside of the window were an error"
    above, below = text.split("As recorded:\n")
    assert "hypothetical verdict CLEAN" in above
    assert below == vmemscope("report", "sample:storm").stdout
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--va-bits", "48", "--window-of", "sample:storm"), "give one or other"),
        (("--window-of", "sample:nope"), "no such sample"),
        (("--window-of", "/nonexistent"), "/nonexistent"),
        (("--va-bits", "99"), "va_bits"),
        (("--physmem-end", "high"), "is no number"),
        (("--warn", "twice"), "twice"),
        (("--memstart", "1G", "--ram", "1G"), "give one"),
        (("--format", "html"), "html"),
        (("--format", "lkml", "--json"), "give one or other"),
    ],
)
def test_bad_what_ifs_are_one_line(args: tuple[str, ...], message: str) -> None:
    done = vmemscope("report", "sample:storm", *args)
    assert done.returncode == 2
    assert message in one_line(done)


@pytest.mark.parametrize(
    "args", [("--va-bits", "48"), ("--memstart", "0"), ("--physmem-end", "linear")]
)
def test_a_recording_that_knows_nothing_says_what_to_give(tmp_path: Path, args) -> None:
    path = tmp_path / "bare.arrows"
    with Writer(path, Header()):
        pass
    done = vmemscope("report", path, *args)
    assert done.returncode == 2
    assert one_line(done).startswith("vmemscope: ")
    assert vmemscope("report", path, "--format", "lkml").returncode == 3


@pytest.mark.parametrize("args", [("--format", "lkml"), ("--va-bits", "48"), ("--warn", "once")])
def test_no_format_loads_textual_or_pandas(args: tuple[str, ...]) -> None:
    assert not {"textual", "pandas"} & loaded_by("report", "sample:storm", *args)


def test_a_folder_is_the_capture_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "capture"
    folder.mkdir()
    parts.rotated(folder / "a.arrows")
    whole = vmemscope("report", "sample:in-range-6.12")
    done = vmemscope("report", folder)
    assert (done.returncode, done.stderr) == (0, "")
    without_notes = [line for line in done.stdout.splitlines() if "a note" not in line]
    assert without_notes == whole.stdout.splitlines()
    (folder / "a.part000002.arrows").unlink()
    done = vmemscope("report", folder)
    assert done.returncode == 3
    assert done.stderr == f"vmemscope: {folder}: part 2 is missing\n"
    (folder / "b.arrows").write_bytes((folder / "a.arrows").read_bytes()[:-100])
    (folder / "c.arrows").write_bytes(b"nothing")
    done = vmemscope("report", folder)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 3


def test_a_folder_with_several_captures_names_them(tmp_path: Path) -> None:
    for name in "ab":
        parts.rotated(tmp_path / f"{name}.arrows")
    done = vmemscope("report", tmp_path)
    assert done.returncode == 2
    assert one_line(done).startswith(f"vmemscope: {tmp_path} holds 2 captures: name one: ")


@pytest.mark.parametrize("name", sample_names())
def test_counting_anew_prints_the_same_to_the_byte(name: str) -> None:
    limits = ("--max-warn-share", "10", "--max-p99", "2ms")
    asked = [(report, ("--format", each)) for each in FORMATS] + [(check, limits)]
    for command, args in asked:
        told, anew = (
            CliRunner().invoke(command, [f"sample:{name}", *args, *more])
            for more in ((), ("--recount",))
        )
        assert told.stdout
        assert (told.exit_code, told.output) == (anew.exit_code, anew.output)


def test_a_lie_in_the_closing_record_is_found_by_counting_anew(tmp_path: Path) -> None:
    """A lie that contradicts nothing: docs/format.md says whose word counts."""
    path = changed(
        sample_path("storm"),
        tmp_path / "a.arrows",
        lambda values: values["sites"]["site"].__setitem__(0, "liar.c:1"),
    )
    told, anew, truth = (
        vmemscope("report", *args).stdout
        for args in ((path,), (path, "--recount"), ("sample:storm",))
    )
    assert "liar.c:1" in told
    assert anew == truth


def test_what_has_its_numbers_is_reported_without_what_counts() -> None:
    counting = {"pyarrow.compute", "numpy.ma", "recordings.ledger.ledger"}
    assert not counting & modules_of("report", "sample:storm")
    assert not counting & modules_of("check", "sample:storm")
    assert counting <= modules_of("report", "sample:storm", "--recount")
