# SPDX-License-Identifier: GPL-2.0-only
"""How far up this very process can map, against what the kernel says of it."""

import os
from pathlib import Path

from tracers.constants.task_size import task_bits


def test_the_bits_of_this_machine() -> None:
    bits = task_bits()
    assert bits is not None
    if os.uname().machine == "x86_64":  # 47 bits and, by hints, 56 with five levels
        flags = Path("/proc/cpuinfo").read_text()
        assert bits == 47 or " la57 " in flags
    # the stack lies below what can be mapped, and in its upper half
    (stack,) = (
        line for line in Path("/proc/self/maps").read_text().splitlines() if "[stack]" in line
    )
    top = int(stack.partition(" ")[0].partition("-")[2], 16)
    assert top <= 1 << bits


def test_nothing_stays_mapped() -> None:
    before = len(Path("/proc/self/maps").read_text().splitlines())
    for _ in range(50):
        task_bits()
    assert len(Path("/proc/self/maps").read_text().splitlines()) < before + 25
