# SPDX-License-Identifier: GPL-2.0-only
"""Plans for the reduced kernels, whose BTF is made, and the files of a machine booted with one."""

import lzma
import os
from pathlib import Path

import pytest

from tests.kernels.files import LAB, kernel
from tests.tracers.live.booted import CAPTURE, TRACING, lab
from tests.tracers.live.machines import BTF_6_1, BTF_6_12
from tracers.constants.image.kernel_image import KernelImage, open_kernel
from tracers.live.boot.plan import Plan, plan_for_image

CLOCKS = "local global counter uptime perf [mono] mono_raw boot tai\n"


def planned(name: str = LAB) -> Plan:
    """Plan for a reduced kernel as if it had its BTF."""
    with open_kernel(kernel(name)) as image:
        return plan_for_image(WithBtf(image, BTF_6_1 if "6.1." in name else BTF_6_12))


class WithBtf:
    """An image that has this BTF, too."""

    def __init__(self, image: KernelImage, blob: bytes) -> None:
        self._image, self._blob = image, blob

    def btf(self) -> bytes:
        return self._blob

    def __getattr__(self, name: str) -> object:
        return getattr(self._image, name)


def boot(root: Path, captures: Path, scene: str = "booted") -> Path:
    """Give a machine of files what a booted one had in tracefs; return that folder."""
    tracing, folder = root / TRACING, captures / CAPTURE
    for name in ("kprobe_events", "kprobe_profile"):
        (tracing / name).write_bytes((folder / f"{scene}.{name}").read_bytes())
    (tracing / "trace").write_bytes(
        lzma.decompress((folder / f"{scene}.ftrace.txt.xz").read_bytes())
    )
    (tracing / "trace_clock").write_text(CLOCKS)
    (tracing / "tracing_on").write_text("1\n")
    (tracing / "set_event").write_text("")
    rings = (folder / f"{scene}.stats").read_text().split("entries: ")[1:]
    for cpu, text in enumerate(rings):
        stats = tracing / f"per_cpu/cpu{cpu}/stats"
        stats.parent.mkdir(parents=True)
        stats.write_text(f"entries: {text}")
    return tracing


def booted_machine(root: Path, captures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a lab 6.1 that was booted with our parameters of files, and be on it."""
    own = os.uname()
    arm64 = os.uname_result((*own[:2], "6.1.192-vmemlab", own[3], "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: arm64)
    boot(lab(root, captures), captures)
    return root
