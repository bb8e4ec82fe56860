# SPDX-License-Identifier: GPL-2.0-only
"""How one kernel looks for a free physical region: where it begins, what it steps by, and KASLR.

Promises: each fact has an origin; what the kernel's code or configuration says comes before what
its release suggests, and what nothing tells is None.

Source: kernel/resource.c; eeb8fdfcf090 (6.12) begins at the end of the linear map, 659aa050a538
(6.8, 6.6.11) steps by sections. "Remove device private pages from the physical address space"
(memremap_device_private_pagemap, on the lists since 2025) does without any physical region.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Self

from tracers.formulas import WindowError
from tracers.placement import physmem_end
from tracers.window import Window

#: Functions that tell, by their names alone.
OUTSIDE: Final = "memremap_device_private_pagemap"
SEED: Final = "memstart_offset_seed"
FUNCTIONS: Final = ("get_free_mem_region", "request_free_mem_region", OUTSIDE, SEED)
_BY_RELEASE: Final = "release"


@dataclass(frozen=True, slots=True)
class Search:
    """What is known; None: not known."""

    capped: bool | None = None  # it begins at the end of the linear map, not of MAX_PHYSMEM_BITS
    by_size: bool | None = None  # it steps by the size asked for, not by a section
    physmem_bits: int | None = None  # MAX_PHYSMEM_BITS
    seeded: bool | None = None  # KASLR may move memstart_addr from boot to boot
    outside: bool = False  # device-private pages have no physical region at all
    origins: Mapping[str, str] = field(default_factory=dict)

    def told(self, origin: str, **facts: Any) -> Self:  # noqa: ANN401 (the fields by name)
        """Return it with those of ``facts`` that are known, instead of what it had."""
        known = {name: value for name, value in facts.items() if value is not None}
        return replace(self, **known, origins={**self.origins, **dict.fromkeys(known, origin)})

    def completed(self, release: str | None) -> "Search":
        """Return it with what the release suggests where nothing else tells."""
        guessed = _by_release(release)
        missing = {k: v for k, v in guessed.items() if getattr(self, k) is None}
        return self.told(_BY_RELEASE, **missing)

    def last(self, window: Window) -> int:
        """Return the highest address that a region may have.

        Raises:
            WindowError: it is not known.
        """
        if self.capped:
            return physmem_end(window)
        if self.capped is None:
            raise WindowError("whether the linear map bounds the search is not known: no release")
        if self.physmem_bits is None:
            raise WindowError(
                "MAX_PHYSMEM_BITS is not known: neither VMCOREINFO nor CONFIG_ARM64_PA_BITS"
            )
        return (1 << self.physmem_bits) - 1

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe dictionary."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**values, "origins": dict(self.origins)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild it from ``to_dict``'s dictionary; what is none of it counts as not known."""
        flags = {
            name: stored[name]
            for name in ("capped", "by_size", "seeded", "outside")
            if isinstance(stored.get(name), bool)
        }
        bits = stored.get("physmem_bits")
        good = type(bits) is int and 32 <= bits <= 52
        origins = stored.get("origins")
        return cls(
            **flags,
            physmem_bits=bits if good else None,
            origins={str(k): str(v) for k, v in origins.items()}
            if isinstance(origins, dict)
            else {},
        )


UNKNOWN: Final = Search()


def by_files(notes: Mapping[str, str], config: Mapping[str, str]) -> Search:
    """Return what a VMCOREINFO note and a configuration say."""
    search = Search()
    for origin, text in (
        ("config", config.get("CONFIG_ARM64_PA_BITS", "")),
        ("vmcoreinfo", notes.get("NUMBER(MAX_PHYSMEM_BITS)", "")),
    ):
        if re.fullmatch(r"[0-9]{2}", text) and 32 <= int(text) <= 52:
            search = search.told(origin, physmem_bits=int(text))
    if config.get("CONFIG_RANDOMIZE_BASE") == "n":
        search = search.told("config", seeded=False)
    return search


def _by_release(release: str | None) -> dict[str, bool]:
    match = re.match(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,5}))?", release or "")
    if match is None:
        return {}
    at = (int(match[1]), int(match[2]), int(match[3] or 0))
    found = {"capped": at >= (6, 12, 0)}
    if at >= (6, 8, 0) or (at[:2] == (6, 6) and at >= (6, 6, 11)):
        found["by_size"] = False
    elif at < (6, 6, 0):
        found["by_size"] = True
    return found
