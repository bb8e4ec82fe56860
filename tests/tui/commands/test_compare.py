# SPDX-License-Identifier: GPL-2.0-only
"""``compare`` as a process."""

import json
from pathlib import Path

from tests.tui.commands.test_main import loaded_by, one_line, vmemscope


def test_the_storm_against_its_patch() -> None:
    done = vmemscope("compare", "sample:storm", "sample:storm-once")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("SLOWER  ")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    fields = json.loads(vmemscope("compare", "sample:storm", "sample:storm-once", "--json").stdout)
    assert fields["answer"] in " ".join(done.stdout.split())
    assert [fields[name]["file"] for name in "ab"] == ["sample:storm", "sample:storm-once"]


def test_inconclusive_and_unreadable_have_codes_of_their_own(tmp_path: Path) -> None:
    assert vmemscope("compare", "sample:below-6.1", "sample:below-6.12").returncode == 3
    done = vmemscope("compare", "sample:storm", tmp_path / "none")
    assert done.returncode == 2
    assert str(tmp_path) in one_line(done)
    done = vmemscope("compare", "sample:storm")
    assert done.returncode == 2
    assert "compare --help" in one_line(done)


def test_losses_are_narrated_and_leave_it_open(tmp_path: Path, samples: Path) -> None:
    path = tmp_path / "torn.arrows"
    path.write_bytes((samples / "storm.arrows").read_bytes()[:-100])
    done = vmemscope("compare", path, "sample:storm-once")
    assert done.returncode == 3
    assert "A has losses" in done.stdout
    assert f"vmemscope: {path}: ends without its closing record" in done.stderr


def test_it_loads_neither_textual_nor_pandas() -> None:
    assert not {"textual", "pandas"} & loaded_by("compare", "sample:storm", "sample:storm-once")
