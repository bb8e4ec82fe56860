# SPDX-License-Identifier: GPL-2.0-only
"""The distance of printk's clock; that it is printk's, the lab holds against a kernel's log."""

import pytest

from tracers.live import printk_clock, system_call


def test_two_measurements_agree():
    first, second = printk_clock.measure(), printk_clock.measure()
    if first is None or second is None:
        pytest.skip("this kernel allows no perf event")
    assert first.error >= 0 <= second.error
    # a clock moves against another by 500 ppm at most: some microseconds between the two
    assert abs(first.ns - second.ns) <= first.error + second.error + 100_000


def test_a_machine_without_perf(monkeypatch):
    monkeypatch.setattr(system_call.platform, "machine", lambda: "riscv64")
    assert printk_clock.measure() is None


def test_a_kernel_that_refuses(monkeypatch):
    monkeypatch.setattr(printk_clock, "_DUMMY", 1 << 40)
    assert printk_clock.measure() is None
