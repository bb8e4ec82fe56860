# SPDX-License-Identifier: GPL-2.0-only
"""What watching a call costs the kernel: measured where the call is watched, kept with the events.

A probe is inside of what it times. What it takes there is measured on a harmless function of the
same kernel, by the same kind of probe, before the capture; where the kernel itself counts the time
of our programs, that is what replaces the estimate afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tracers.errors import VmemscopeError
from tracers.kinds import Kind

#: No probe takes a second: more is no figure of ours.
_MOST_NS: Final = 1_000_000_000
_KINDS: Final = {kind.label: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class ProbeCost:
    """What one watched call costs, nanoseconds."""

    whole_ns: int  # its entry and its return, all that is ours of both
    inside_ns: int | None  # of that, between its two time stamps; None: its end is not watched
    measured: bool = False  # in the capture itself, not only before it

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-safe values."""
        values: dict[str, Any] = {"whole_ns": self.whole_ns}
        if self.inside_ns is not None:
            values["inside_ns"] = self.inside_ns
        return values | ({"measured": True} if self.measured else {})


@dataclass(frozen=True, slots=True)
class Observer:
    """The cost of every watched kind; empty where nobody knows. Hashes by identity of its kinds."""

    costs: Mapping[Kind, ProbeCost] = field(default_factory=dict, hash=False)

    def __bool__(self) -> bool:
        return bool(self.costs)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-safe values, by the names of kinds; {} for nothing."""
        return {kind.label: cost.to_dict() for kind, cost in sorted(self.costs.items())}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Observer":
        """Read one; kinds that are not known are left out.

        Raises ``VmemscopeError`` where it holds what no probe costs.
        """
        return cls(
            {
                _KINDS[name]: _cost(value)
                for name, value in values.items()
                if name in _KINDS and isinstance(value, dict)
            }
        )


def _cost(values: Mapping[str, Any]) -> ProbeCost:
    inside = values.get("inside_ns")
    whole = _time(values.get("whole_ns"))
    return ProbeCost(
        whole, None if inside is None else _time(inside), values.get("measured") is True
    )


def _time(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_NS:
        raise VmemscopeError(f"a probe costs {value!r:.40} ns")
    return value
