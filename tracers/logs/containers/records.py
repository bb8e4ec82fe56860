# SPDX-License-Identifier: GPL-2.0-only
"""Writes the record of a log as lines with a prefix that ``tracers.logs.dmesg.lines`` reads.

Promises: a message of several lines is as many, each with the record's time; a line break inside
never makes a line that looks like another record's.
"""


def lines_of(prefix: str, message: str) -> bytes:
    """Return a record's lines, with their newlines."""
    text = "".join(f"{prefix}{line}\n" for line in message.rstrip("\r\n").split("\n"))
    return text.encode("utf-8", "backslashreplace")


def since_boot(microseconds: int, caller: str = "") -> str:
    """Return the prefix that printk prints."""
    caller = f"[{caller:>6}]" if caller else ""
    return f"[{microseconds // 1_000_000:5}.{microseconds % 1_000_000:06}]{caller} "


def since_1970(microseconds: int) -> str:
    """Return the prefix that journalctl -o short-unix prints."""
    return f"{microseconds // 1_000_000}.{microseconds % 1_000_000:06} kernel: "
