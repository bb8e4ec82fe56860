# SPDX-License-Identifier: GPL-2.0-only
"""Stop signals as events, with real signals sent to this process."""

import os
import signal
import subprocess

import pytest

from tui.capturing.signals import Signals

STOPPING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_waited_for_and_put_back(number):
    before = signal.getsignal(number)
    with Signals() as signals:
        assert signals.take() is None
        os.kill(os.getpid(), number)
        assert signals.wait(30) is number
        assert signals.take() is None
    assert signal.getsignal(number) is before


def test_they_come_in_order_and_none_is_lost():
    with Signals() as signals:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert [signals.wait(30) for _ in range(3)] == [
            signal.SIGTERM,
            signal.SIGHUP,
            signal.SIGTERM,
        ]


def test_a_childs_end_wakes_but_asks_for_nothing():
    with Signals() as signals:
        process = subprocess.Popen(["true"])
        assert signals.wait(30) is None
        assert process.wait(30) == 0


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.wait(0) is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_storm_of_signals_neither_blocks_nor_fails():
    with Signals() as signals:
        for _ in range(100_000):
            signals._enqueue(signal.SIGTERM, None)
        assert signals.take() is signal.SIGTERM
