# SPDX-License-Identifier: GPL-2.0-only
"""What else than a machine's own files tells of it: its log, or numbers given by hand."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Told:
    """A release and facts, each with who told it, as ``tracers.machine.assemble`` takes them."""

    release: tuple[str, str] | None = None  # (origin, release)
    facts: Mapping[str, list[tuple[str, int]]] = field(default_factory=dict)  # (origin, value)s
