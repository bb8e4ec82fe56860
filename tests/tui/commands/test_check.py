# SPDX-License-Identifier: GPL-2.0-only
"""``check`` as CI runs it: one line a file, and the exit code."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.recordings import oops
from tests.recordings.format import test_parts as parts
from tests.recordings.made import record
from tests.recordings.plain import batch
from tests.tui.commands.test_main import loaded_by, one_line, vmemscope


def test_one_line_a_file_and_the_worst_code(tmp_path: Path) -> None:
    done = vmemscope("check", "sample:in-range-6.12", "sample:storm", tmp_path / "none")
    assert done.returncode == 2
    first, second, third = done.stdout.splitlines()
    assert first == (
        "sample:in-range-6.12: CLEAN, all 32 calls lie inside the window; no WARN seen"
    )
    assert second.startswith("sample:storm: OUT OF RANGE, 256 of 256 calls outside the window;")
    assert third == f"{tmp_path}/none: UNREADABLE"
    assert len(done.stderr.splitlines()) == 1
    assert "no such file" in done.stderr.lower()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("sample:in-range-6.12",), 0),
        (("sample:in-range-6.12", "sample:in-range-6.1"), 0),
        (("sample:storm",), 1),
        (("sample:in-range-6.12", "--expect-sections", "23"), 1),
        (("sample:in-range-6.12", "--expect-sections", "16"), 0),
        (("sample:in-range-6.1", "--expect-sections", "16"), 3),
        (("sample:in-range-6.12", "--max-p99", "1ms"), 1),
        (("sample:in-range-6.12", "--max-p99", "1.142ms"), 0),
        (("sample:in-range-6.1", "--max-p99", "2s"), 3),
        (("sample:in-range-6.1", "--max-warn-share", "0"), 0),
        (("sample:in-range-6.1", "sample:in-range-6.12", "--max-p99", "1ms"), 1),
        (("sample:nope", "sample:storm"), 2),
    ],
)
def test_exit_codes(args: tuple[str, ...], code: int) -> None:
    assert vmemscope("check", *args).returncode == code


def test_what_failed_and_what_is_not_known_is_on_the_line(traced: Path) -> None:
    done = vmemscope(
        "check", traced / "storm.arrows", "--max-warn-share", "10", "--expect-sections", "128"
    )
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert "; FAILED --max-warn-share 10: 91.2 % of hot-add and 82.9 % of hot-remove in W" in line
    assert line.endswith("; CANNOT TELL --expect-sections 128: 128 sections are derived, not "
                         "observed")  # fmt: skip


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("sample:storm", "--max-p99", "fast"),
        ("sample:storm", "--max-p99", "5"),
        ("sample:storm", "--max-warn-share", "101"),
        ("sample:in-range-6.12", "--max-warn-share", "nan"),
        ("sample:storm", "--expect-sections", "-1"),
    ],
)
def test_usage_errors_are_one_line(args: tuple[str, ...]) -> None:
    done = vmemscope("check", *args)
    assert done.returncode == 2
    assert one_line(done).endswith("--help)")


def test_a_hostile_name_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "x\x1b]0;x\x07\n"
    path.write_bytes(b"hello\n" * 9)
    done = vmemscope("check", path)
    assert done.returncode == 2
    assert "\x1b" not in done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(done.stderr.splitlines()) == 1


def test_it_loads_neither_textual_nor_pandas() -> None:
    loaded = loaded_by("check", "sample:in-range-6.12", "--max-p99", "1s")
    assert "pyarrow" in loaded
    assert not {"textual", "pandas"} & loaded


def rotated(folder: Path) -> list[Path]:
    folder.mkdir()
    parts.rotated(folder / "a.arrows")
    return sorted(folder.iterdir())


def test_a_folder_and_its_files_are_judged_as_the_capture_they_are(tmp_path: Path) -> None:
    files = rotated(tmp_path / "capture")
    for given in ([tmp_path / "capture"], files):
        done = vmemscope("check", *given)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            f"{files[0]} (3 parts): CLEAN, all 32 calls lie inside the window; no WARN seen\n"
        )


def test_a_missing_part_is_on_the_line_and_never_clean(tmp_path: Path) -> None:
    files = rotated(tmp_path / "capture")
    files[1].unlink()
    for given in ([tmp_path / "capture"], [files[0], files[2]]):
        done = vmemscope("check", *given)
        assert done.returncode == 3
        assert done.stdout.startswith(f"{files[0]} (2 parts): INCONCLUSIVE, part 2 is missing; ")
    done = vmemscope("check", files[0])
    assert done.returncode == 3
    assert "what follows part 1 is missing" in done.stdout


def test_lines_keep_the_order_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    files = rotated(tmp_path / "capture")
    done = vmemscope("check", files[2], tmp_path / "empty", "sample:nope", "sample:storm", *files)
    assert done.returncode == 2
    words = [line.partition(": ")[0] for line in done.stdout.splitlines()]
    assert words == [
        f"{files[2]} (3 parts)",
        str(tmp_path / "empty"),
        "sample:nope",
        "sample:storm",
    ]


@pytest.mark.parametrize(
    ("rows", "line", "code"),
    [
        (oops.rows(0), "OUT OF RANGE, 1 Oops at a struct page outside the window; no WARN seen", 1),
        (oops.rows(0, None), "INCONCLUSIVE, At which struct page the kernel failed (Oops) is", 3),
        (oops.rows(0, oops.WINDOW.start), "INCONCLUSIVE, The struct page of 1 Oops lies inside", 3),
    ],
)
def test_an_oops_is_judged(rows: list, line: str, code: int, tmp_path: Path) -> None:
    path = tmp_path / "oops.arrows"
    record(path, [batch(rows)], oops.HEADER)
    done = vmemscope("check", path)
    assert done.stdout.startswith(f"{path}: {line}")
    assert done.returncode == vmemscope("report", path).returncode == code


def test_what_is_not_arm64_is_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "riscv.arrows"
    header = replace(oops.HEADER, machine=replace(oops.MACHINE, arch="riscv64"))
    record(path, [batch(oops.rows())], header)
    done = vmemscope("check", path)
    assert done.returncode == 3
    assert "INCONCLUSIVE, This is a log of riscv64, not an arm64 log: " in done.stdout
