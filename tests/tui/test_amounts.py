"""Sizes and times as people type them."""

import click
import pytest

from tui.amounts import seconds_of, size_of

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
