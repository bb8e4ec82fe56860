# SPDX-License-Identifier: GPL-2.0-only
"""Start and end of a call, out of the registers that a WARN's splat shows: proven, or not at all.

With the kernel's vmlinux the registers are known (``tracers.constants.dataflow.parameters``); what
they hold must then also be what that WARN fires for. Without one,
``tracers.logs.dmesg.register_pairs`` may prove a pair by arithmetic. Promises: nothing is told that
contradicts the splat, the window or the code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from tracers.logs.dmesg.register_pairs import Shape
from tracers.window import Window

if TYPE_CHECKING:
    from tracers.constants.dataflow.parameters import ParameterLocation
    from tracers.constants.image.kernel_image import KernelImage

ARITHMETIC: Final = "arithmetic: one pair of registers fits"


@dataclass(frozen=True, slots=True)
class Arguments:
    """What one kernel's vmlinux says of its WARNs, by (function, offset of the brk)."""

    release: str | None = None
    places: Mapping[tuple[str, int], "ParameterLocation"] = field(default_factory=dict, hash=False)
    problems: tuple[str, ...] = ()  # why some have no registers, a line each

    @classmethod
    def from_image(cls, image: "KernelImage") -> Self:
        """Read a vmlinux, or an Image that has names.

        Raises:
            ConstantsError: it is damaged.
        """
        # Only now: it loads a disassembler.
        from tracers.constants.dataflow.parameters import parameter_locations  # noqa: PLC0415

        found = parameter_locations(image)
        places = {(place.function, place.offset): place for place in found.warns}
        return cls(found.release, places, found.problems)

    def place(
        self, function: str, offset: int, size: int, site: str | None
    ) -> "ParameterLocation | None":
        """Return the WARN that a splat names; None if this kernel has none there.

        ``size`` is what the kernel printed, up to the next symbol: never below the code's own.
        """
        place = self.places.get((function, offset))
        if place is None or size < place.size:
            return None
        return place if site is None or place.site in (None, site) else None

    def other(self, place: "ParameterLocation") -> bool:
        """Whether ``place`` is another WARN of a function whose window check is known."""
        return place.bounds is None and any(
            each.bounds and each.function == place.function for each in self.places.values()
        )


def read_range(
    place: "ParameterLocation", registers: Sequence[int], window: Window | None, shape: Shape | None
) -> tuple[int, int] | None:
    """Return what the registers hold at ``place``; None if they contradict each other or it.

    All registers said to hold the same argument must do so; the WARN must fire for the values, by
    the code's bounds and by the window's; and they must be a range the kernel can pass, where its
    sizes are known.
    """
    starts = {registers[n] for n in place.start if n < len(registers)}
    ends = {registers[n] for n in place.end if n < len(registers)}
    bounds = [place.bounds] if place.bounds else []
    if window is not None:
        bounds.append((window.start, window.end))
    if len(starts) != 1 or len(ends) != 1 or not bounds:
        return None
    start, end = starts.pop(), ends.pop()
    if not all(start < low or end > high for low, high in bounds):
        return None
    return (start, end) if shape is None or shape.fits(start, end) else None
