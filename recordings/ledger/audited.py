# SPDX-License-Identifier: GPL-2.0-only
"""What a recording keeps of an audit: what lay outside the window then, and what the log said.

Promises: whatever a file holds, reading it raises nothing; numbers that are none are left out, and
an empty one means that nobody looked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from recordings.wording.escape import printable
from recordings.wording.units import counted, size

#: As many regions are kept, the largest first.
REGIONS: Final = 64
_MOST: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Outside:
    """One region whose struct pages lay outside. ``name`` is of the kernel: escape it."""

    name: str
    start: int  # physical
    size: int
    page_start: int
    page_size: int
    regime: str
    lands_on: str = ""
    stray: bool = False  # mapped, and nobody had it

    @property
    def page_end(self) -> int:
        """Where its struct pages ended, modulo 2^64."""
        return (self.page_start + self.page_size) & _MOST


@dataclass(frozen=True, slots=True)
class Audited:
    """``verdict``: "" if nobody looked. Numbers of the log are ``None`` without one."""

    verdict: str = ""
    outside: tuple[Outside, ...] = ()
    bytes: int = 0  # of memory, of all regions
    regions: int = 0  # of which ``outside`` has the first
    warnings: int | None = None  # in the kernel log, since boot
    hits: int | None = None
    faults: int | None = None
    reasons: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Say whether somebody looked."""
        return bool(self.verdict)

    @property
    def told(self) -> str:
        """Say how much lay outside, with its verb: "16 GiB (devpriv) had its struct pages"."""
        if not self.bytes:
            mapped = sum(each.page_size for each in self.outside)
            return f"{size(mapped)} of memory that nobody owns was mapped"
        owned = (printable(each.name) for each in self.outside if not each.stray)
        names = list(dict.fromkeys(owned))
        more = ", …" if len(names) > 3 or self.regions > len(self.outside) else ""
        return f"{size(self.bytes)} ({', '.join(names[:3])}{more}) had struct pages"

    @property
    def amount(self) -> str:
        """Say how much lay outside, without a name."""
        return size(self.bytes or sum(each.page_size for each in self.outside))

    @property
    def since_boot(self) -> str:
        """Say what the log has: "256 WARNs, 256 calls outside"; "" if nothing, or nobody looked."""
        calls = (self.hits, "call outside", "calls outside")
        return _listed((self.warnings, "WARN", "WARNs"), calls, (self.faults, "Oops", "Oopses"))

    @property
    def reports(self) -> str:
        """Say how many reports the log has: "256 WARNs, 1 Oops"; "" if none."""
        return _listed((self.warnings, "WARN", "WARNs"), (self.faults, "Oops", "Oopses"))

    def gone(self, later: "Audited") -> tuple[Outside, ...]:
        """Return the regions that ``later`` has no more; none if nobody looked then."""
        if not later:
            return ()
        held = {(each.start, each.page_start) for each in later.outside}
        return tuple(each for each in self.outside if (each.start, each.page_start) not in held)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe dictionary; addresses as "0x…" strings. Empty if nobody looked."""
        if not self:
            return {}
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "bytes": self.bytes,
            "regions": self.regions,
            "outside": [
                {
                    "name": each.name,
                    "start": f"0x{each.start:016x}",
                    "size": each.size,
                    "page_start": f"0x{each.page_start:016x}",
                    "page_size": each.page_size,
                    "regime": each.regime,
                    "lands_on": each.lands_on,
                    "stray": each.stray,
                }
                for each in self.outside[:REGIONS]
            ],
            "log": None
            if self.warnings is None
            else {"warnings": self.warnings, "hits": self.hits, "faults": self.faults},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild one; unknown keys are passed over."""
        verdict = stored.get("verdict")
        if not isinstance(verdict, str) or not verdict:
            return cls()
        log = stored.get("log")
        said = log if isinstance(log, Mapping) else {}
        regions = _list(stored.get("outside"))
        outside = tuple(region for each in regions[:REGIONS] if (region := _outside(each)))
        return cls(
            verdict,
            outside,
            _number(stored.get("bytes")) or 0,
            _number(stored.get("regions")) or len(outside),
            warnings=_number(said.get("warnings")),
            hits=_number(said.get("hits")),
            faults=_number(said.get("faults")),
            reasons=tuple(
                text for text in _list(stored.get("reasons"))[:16] if isinstance(text, str)
            ),
        )


def _listed(*numbers: tuple[int | None, str, str]) -> str:
    """Return the numbers that are not 0, each with its word."""
    return ", ".join(counted(number, one, many) for number, one, many in numbers if number)


def _outside(stored: object) -> Outside | None:
    if not isinstance(stored, Mapping):
        return None
    name, regime, lands_on = (stored.get(key, "") for key in ("name", "regime", "lands_on"))
    numbers = [_number(stored.get(key)) for key in ("start", "size", "page_start", "page_size")]
    texts = isinstance(name, str) and isinstance(regime, str) and isinstance(lands_on, str)
    if not texts or None in numbers:
        return None
    start, length, page_start, page_size = (number or 0 for number in numbers)
    stray = stored.get("stray") is True
    return Outside(name, start, length, page_start, page_size, regime, lands_on, stray)


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> int | None:
    if isinstance(value, str):
        try:
            value = int(value, 16)
        except ValueError:
            return None
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST
    return value if fits and isinstance(value, int) else None
