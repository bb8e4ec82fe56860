# SPDX-License-Identifier: GPL-2.0-only
"""Thread groups and names, from samples and from /proc; nothing is guessed."""

from pathlib import Path

import numpy as np
import pytest

from tracers.live.records import KNOWN_COMM, KNOWN_PID, RAW
from tracers.live.tracefs import threads
from tracers.live.tracefs.threads import Threads


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    (tmp_path / "proc/50").mkdir()
    (tmp_path / "proc/50/status").write_text("Name:\tworker\nTgid:\t48\nPid:\t50\n")
    return tmp_path


def records(*tids: int) -> np.ndarray:
    made = np.zeros(len(tids), RAW)
    made["tid"] = tids
    return made


def test_the_group_and_the_name_are_read_from_proc(root: Path) -> None:
    made = records(50, 51, 50, 0)
    Threads(root).fill(made)
    both = KNOWN_PID | KNOWN_COMM
    assert made["known"].tolist() == [both, 0, both, KNOWN_PID]
    assert made["pid"].tolist() == [48, 0, 48, 0]
    assert made["comm"].tolist() == [b"worker", b"", b"worker", b""]


def test_an_events_own_name_goes_before(root: Path) -> None:
    made = records(50, 50)
    made["comm"][1], made["known"][1] = b"insmod", KNOWN_COMM
    Threads(root).fill(made)
    assert made["comm"].tolist() == [b"insmod", b"insmod"]


def test_what_samples_showed_holds_when_the_thread_is_gone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Threads(root)
    first = records(77)
    first["pid"], first["known"], first["comm"] = 70, KNOWN_PID | KNOWN_COMM, b"insmod"
    known.fill(first)
    monkeypatch.setattr(threads, "_FRESH_NS", 0)  # looks again, and finds nobody
    later = records(77)
    known.fill(later)
    assert later["pid"].tolist() == [70]
    assert later["comm"].tolist() == [b"insmod"]


def test_in_another_pid_namespace_proc_is_about_other_threads(root: Path) -> None:
    (root / "proc/self/ns/pid").unlink()
    (root / "proc/self/ns/pid").symlink_to("pid:[4026532000]")
    made = records(50)
    known = Threads(root)
    known.fill(made)
    assert not known.global_ids
    assert made["known"].tolist() == [0]


def test_a_kernel_without_pid_namespaces_has_the_first_one_only(root: Path) -> None:
    (root / "proc/self/ns/pid").unlink()
    assert Threads(root).global_ids
