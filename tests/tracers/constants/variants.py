# SPDX-License-Identifier: GPL-2.0-only
"""The functions of real kernels that the code tests decode: variants.jsonl, see reduce_code.py."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Name:
    """A symbol."""

    name: str
    va: int


@dataclass(frozen=True)
class Body:
    """A function."""

    name: str
    va: int
    bytes: bytes


class Variant:
    """One kernel: an image of a few functions and strings, and its true window."""

    def __init__(self, line: dict) -> None:
        self.title = f"{line['compiler']}, {line['config']}, {line['va_bits']} bits"
        self.window = (int(line["start"], 16), int(line["end"], 16))
        self.va_bits = line["va_bits"]
        self.release = line["release"]
        self.functions = {
            name: (int(va, 16), bytes.fromhex(code))
            for name, (va, code) in line["functions"].items()
        }
        self.names = {name: int(va, 16) for name, va in line["symbols"].items()}
        self.strings = {int(va, 16): text.encode() + b"\0" for va, text in line["strings"].items()}

    def read(self, va: int, size: int) -> bytes | None:
        """Bytes at an address; zeros follow each string."""
        text = self.strings.get(va)
        return None if text is None else text.ljust(size, b"\0")[:size]

    def symbols(self, names: Iterable[str]) -> dict[str, Name]:
        """Those of `names` it has."""
        return {name: Name(name, self.names[name]) for name in names if name in self.names}

    def function(self, name: str) -> Body | None:
        """A whole function."""
        body = self.functions.get(name)
        return None if body is None else Body(name, *body)


VARIANTS = [
    Variant(json.loads(line))
    for line in Path(__file__).with_name("variants.jsonl").read_text().splitlines()
]
