# SPDX-License-Identifier: GPL-2.0-only
"""The next steps: for which distribution and release, with no placeholder left."""

import os
import re
from pathlib import Path

import pytest

from tracers.live.doctor import examine, state
from tracers.live.doctor.steps import DISTRIBUTIONS, distribution, steps

SOURCES = "".join(Path(module.__file__).read_text() for module in (examine, state))
USED = sorted(set(re.findall(r'(?:steps|as_root)\("([\w ]+)"', SOURCES)))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('NAME="Debian GNU/Linux"\nVERSION="12 (bookworm)"\nID=debian\n', "debian"),
        ("NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian\n", "ubuntu"),
        ("NAME='Fedora Linux'\nID=fedora\nVARIANT_ID=server\n", "fedora"),
        ('NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n', "ubuntu"),
        ('NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n', "fedora"),
        ('NAME="Arch Linux"\nID=arch\n', None),
        ("# ID=debian\nnonsense\n=\n", None),
        ("", None),
        (None, None),
    ],
)
def test_the_distribution(tmp_path, text, name):
    if text is not None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/os-release").write_text(text)
    assert distribution(tmp_path) == name


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_bytes(b"NAME=\xff\xfe\0\nID=debian\n")
    assert distribution(tmp_path) == "debian"


@pytest.mark.parametrize("what", USED)
def test_whatever_doctor_finds_has_a_step_without_a_gap(what):
    by_distribution = steps(what)
    assert by_distribution
    assert set(by_distribution) in ({""}, set(DISTRIBUTIONS))
    for step in by_distribution.values():
        assert not set("{}\n") & set(step)
        assert step == step.strip()


def test_the_release_is_filled_in(monkeypatch):
    assert steps("vmlinux", "6.1.0-56-arm64")["debian"] == (
        "apt install linux-image-6.1.0-56-arm64-dbg, then vmemscope doctor --vmlinux"
        " /usr/lib/debug/boot/vmlinux-6.1.0-56-arm64"
    )
    own = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*own[:2], "6.9-odd{}", *own[3:])))
    assert "kernel-6.9-odd{}," in steps("vmlinux")["fedora"]


def test_what_nobody_knows_is_a_bug_of_ours():
    with pytest.raises(KeyError):
        steps("luck")
