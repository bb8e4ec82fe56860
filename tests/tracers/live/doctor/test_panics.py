# SPDX-License-Identifier: GPL-2.0-only
"""The settings in /proc/sys/kernel that make a WARN or an Oops panic."""

from pathlib import Path

import pytest

from tracers.live.doctor.panics import PANICS, panicking


@pytest.mark.parametrize(
    ("text", "on"), [("0\n", False), ("", False), ("1\n", True), ("2\n", True), ("100\n", True)]
)
def test_any_number_but_zero_is_on(tmp_path: Path, text: str, on: bool) -> None:
    folder = tmp_path / "proc/sys/kernel"
    folder.mkdir(parents=True)
    for name in PANICS:
        (folder / name).write_text(text)
    assert panicking(tmp_path) == dict.fromkeys(PANICS, on)


def test_what_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    assert panicking(tmp_path) == dict.fromkeys(PANICS)
