# SPDX-License-Identifier: GPL-2.0-only
"""``audit``: exit codes, JSON, and input that is none."""

import json
import shutil
from pathlib import Path

import pytest

from tests.tui.commands.test_main import one_line, vmemscope

LAB = "6.1.192-vmemlab-39bit"


@pytest.mark.parametrize(("folder", "code"), [(f"{LAB}/mapped", 1), ("6.12.117-vmemlab-48bit", 0)])
def test_exit_codes(captures: Path, folder: str, code: int) -> None:
    done = vmemscope("audit", "--machine", captures / folder, "--json")
    assert (done.returncode, done.stderr) == (code, "")
    assert json.loads(done.stdout)["verdict"] == {1: "out-of-range", 0: "clean"}[code]
    text = vmemscope("audit", "--machine", captures / folder)
    assert text.returncode == code
    assert text.stdout.startswith({1: "OUT OF RANGE", 0: "CLEAN"}[code])


def test_without_page_tables_it_is_inconclusive(captures: Path, tmp_path: Path) -> None:
    for name in ("iomem", "kcore-vmcoreinfo", "uname"):
        shutil.copy(captures / LAB / name, tmp_path)
    done = vmemscope("audit", "--machine", tmp_path)
    assert done.returncode == 3
    assert done.stdout.startswith("INCONCLUSIVE  Neither page tables nor memory sections")


def test_a_log_that_is_named(captures: Path) -> None:
    """What is mapped now does not depend on it; what was since boot does."""
    log = captures / LAB / "hole.dmesg.txt.xz"
    done = vmemscope("audit", "--machine", captures / LAB, "--log", log, "--json")
    fields = json.loads(done.stdout)
    assert (done.returncode, fields["regions"]) == (1, [])
    # 16 GiB from 0x5000000000: 128 sections, populated and freed, a WARN each
    assert (fields["log"]["warnings"], fields["log"]["hits"]) == (256, 256)
    (gone,) = fields["gone"]
    assert (gone["populate"], gone["free"]) == (128, 128)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--machine", "no/such"], "no/such: the machine's files cannot be read"),
        (["no/such"], "no/such: No such file or directory"),
        (["--live", "--machine", "x"], "exclude each other"),
        (["x", "--live"], "exclude each other"),
        ([], "this machine runs"),
        (["/etc/passwd"], "/etc/passwd is neither a core file nor"),
        (["/bin/true"], "/bin/true is of"),
    ],
)
def test_input_that_is_none(arguments: list[str], says: str) -> None:
    done = vmemscope("audit", *arguments)
    assert done.returncode == 2
    assert says in one_line(done)


def test_the_text_of_a_note_is_no_dump(captures: Path) -> None:
    done = vmemscope("audit", captures / LAB / "kcore-vmcoreinfo")
    assert done.returncode == 2
    assert "has no memory, only a note" in one_line(done)


def test_hostile_page_tables(captures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "machine"
    shutil.copytree(captures / LAB / "mapped", folder)
    (folder / "dmesg.txt").unlink()
    line = "0x{:016x}-0x{:016x}           4K PTE       RW NX SHD AF  UXN MEM/NORMAL\n"
    # 200,000 single pages in the hole, then ranges that overlap, run backwards or past the end
    pages = (0xFFFFFFFF00000000 + 8192 * at for at in range(200_000))
    (folder / "kernel_page_tables").write_text(
        "".join(line.format(at, at + 4096) for at in pages)
        + line.format(0xFFFFFFFFFFFFF000, 0)
        + line.format(0xFFFFFFFF00000000, 0xFFFFFFFF40000000)
        + line.format(0xFFFFFFFF40000000, 0xFFFFFFFF00000000)
        + line.format(0, 0)
    )
    done = vmemscope("audit", "--machine", folder)
    assert done.returncode in (1, 3)
    assert done.stderr == ""
    assert len(done.stdout) < 20_000
