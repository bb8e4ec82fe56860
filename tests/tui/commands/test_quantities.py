# SPDX-License-Identifier: GPL-2.0-only
"""Parsing of sizes, times and percentages."""

import click
import pytest

from tui.commands.quantities import nanoseconds_of, percent_of, seconds_of, size_of

PARAM = click.Option(["--it"])
CONTEXT = click.Context(click.Command("x"))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        ("64k", 65536),
        ("64K", 65536),
        ("1 MiB", 1048576),
        ("1.5G", 1610612736),
        ("2TB", 2199023255552),
        (None, None),
    ],
)
def test_sizes(text, size):
    assert size_of(CONTEXT, PARAM, text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "-1M", "1X", "64 K B", "1e9", "65535", "0x10000", "\u0661M"]
)
def test_no_sizes(text):
    with pytest.raises(click.BadParameter):
        size_of(CONTEXT, PARAM, text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("0.5s", 0.5), ("10min", 600), ("10m", 600), ("1h", 3600), ("7d", 604800),
     (None, None)],
)  # fmt: skip
def test_times(text, seconds):
    assert seconds_of(CONTEXT, PARAM, text) == seconds


@pytest.mark.parametrize("text", ["", "s", "0", "0s", "-1", "1 week", "nan", "inf", "1e3"])
def test_no_times(text):
    with pytest.raises(click.BadParameter):
        seconds_of(CONTEXT, PARAM, text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [("500us", 500_000), ("500 \u00b5s", 500_000), ("500\u03bcs", 500_000), ("1.5ms", 1_500_000),
     ("2S", 2 * 10**9), ("7ns", 7), (None, None)],
)  # fmt: skip
def test_short_times(text, ns):
    assert nanoseconds_of(CONTEXT, PARAM, text) == ns


@pytest.mark.parametrize("text", ["", "5", "0us", "-1ms", "1min", "1e3us", "ms"])
def test_short_times_have_a_unit(text):
    with pytest.raises(click.BadParameter):
        nanoseconds_of(CONTEXT, PARAM, text)


@pytest.mark.parametrize(
    ("text", "percent"),
    [("0", 0), ("10", 10), ("2.5", 2.5), ("93 %", 93), ("100%", 100), (None, None)],
)
def test_percentages(text, percent):
    assert percent_of(CONTEXT, PARAM, text) == percent


@pytest.mark.parametrize("text", ["", "%", "nan", "inf", "-1", "100.1", "1e1", "\u0661"])
def test_no_percentages(text):
    with pytest.raises(click.BadParameter):
        percent_of(CONTEXT, PARAM, text)
