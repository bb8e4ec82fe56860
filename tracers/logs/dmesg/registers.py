# SPDX-License-Identifier: GPL-2.0-only
"""Reads start and end of a call from the registers of a WARN's splat, if they can be proven.

With the kernel's vmlinux the registers are known (``tracers.constants.dataflow.parameters``); what
they hold must then also be what that WARN fires for. Without one,
``tracers.logs.dmesg.register_pairs`` may prove a pair by arithmetic. Promises: no result
contradicts the splat, the window or the code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from tracers.families import MASK
from tracers.logs.byte_text import U64, Mask
from tracers.logs.dmesg.register_pairs import RangeRules
from tracers.logs.dmesg.splats import Splat
from tracers.window import Window

if TYPE_CHECKING:
    from tracers.constants.dataflow.parameters import ParameterLocation
    from tracers.constants.image.kernel_image import KernelImage

ARITHMETIC: Final = "arithmetic: one pair of registers fits"


@dataclass(frozen=True, slots=True)
class Arguments:
    """The WARNs of one vmlinux and their arguments' registers, by (function, offset of the brk)."""

    release: str | None = None
    warns: Mapping[tuple[str, int], "ParameterLocation"] = field(default_factory=dict, hash=False)
    problems: tuple[str, ...] = ()  # why some have no registers, a line each

    @classmethod
    def from_image(cls, image: "KernelImage") -> Self:
        """Read a vmlinux, or an Image that has names.

        Raises:
            ConstantsError: it is damaged.
        """
        # Only now: it loads a disassembler.
        from tracers.constants.dataflow.parameters import parameter_locations  # noqa: PLC0415

        locations = parameter_locations(image)
        warns = {(warn.function, warn.offset): warn for warn in locations.warns}
        return cls(locations.release, warns, locations.problems)

    def warn(self, splat: Splat) -> "ParameterLocation | None":
        """Return the WARN that a splat names; None if this kernel has none there.

        The size that the kernel printed goes up to the next symbol: it is never below the code's
        own. Without offset and size, as decode_stacktrace.sh leaves it, the line tells, if one
        WARN is of that line.
        """
        if splat.where is not None:
            there = [
                warn
                for (function, _), warn in self.warns.items()
                if function == splat.function and warn.site is not None and warn.site == splat.site
            ]
            return there[0] if len(there) == 1 else None
        warn = self.warns.get((splat.function or "", splat.offset))
        if warn is None or splat.size < warn.size:
            return None
        return warn if splat.site is None or warn.site in (None, splat.site) else None

    def other(self, warn: "ParameterLocation") -> bool:
        """Whether ``warn`` is another WARN of a function whose window check is known."""
        return warn.bounds is None and any(
            known.bounds and known.function == warn.function for known in self.warns.values()
        )


def read_range(
    warn: "ParameterLocation",
    registers: Sequence[int],
    window: Window | None,
    rules: RangeRules | None,
) -> tuple[int, int] | None:
    """Return what the registers hold at ``warn``; None if they contradict each other or it.

    All registers said to hold the same argument must do so; the WARN must fire for the values, by
    the code's bounds and by the window's; and they must be a range the kernel can pass, where its
    sizes are known.
    """
    starts = {registers[n] for n in warn.start if n < len(registers)}
    ends = {registers[n] for n in warn.end if n < len(registers)}
    bounds = [warn.bounds] if warn.bounds else []
    if window is not None:
        bounds.append((window.start, window.end))
    if len(starts) != 1 or len(ends) != 1 or not bounds:
        return None
    start, end = starts.pop(), ends.pop()
    if not all(start < low or end > high for low, high in bounds):
        return None
    return (start, end) if rules is None or rules.fits(start, end) else None


def read_ranges(
    warn: "ParameterLocation", registers: U64, window: Window | None, rules: RangeRules | None
) -> tuple[U64, U64, Mask]:
    """Return what ``read_range`` does of many splats' registers, [N, 30], and where it is known."""
    count, numbers = registers.shape
    starts = [registers[:, n] for n in sorted(warn.start) if n < numbers]
    ends = [registers[:, n] for n in sorted(warn.end) if n < numbers]
    bounds = [warn.bounds] if warn.bounds else []
    if window is not None:
        bounds.append((window.start, window.end))
    if not starts or not ends or not bounds:
        return np.zeros(count, np.uint64), np.zeros(count, np.uint64), np.zeros(count, np.bool_)
    start, end = starts[0], ends[0]
    known = np.ones(count, np.bool_)
    for value, same in ((start, starts), (end, ends)):
        for other in same[1:]:
            known &= value == other
    for low, high in bounds:
        known &= (start < np.uint64(low)) | (end > np.uint64(min(high, MASK)))
    if rules is not None:
        known &= rules.all_fit(start, end)
    return start, end, known
