# SPDX-License-Identifier: GPL-2.0-only
"""Reads all that is known of the kernel before anything is attached, once for all engines.

Promises: nothing is attached or enabled; what cannot be known is left out, with the reason.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tracers.constants.errors import ConstantsError
from tracers.constants.gather import gather
from tracers.constants.image.warn_sites import PATH
from tracers.live.probes.harmless import harmless
from tracers.live.probes.ladder import Ladder, ladders
from tracers.live.probes.points import ALL, Probe, Rung
from tracers.live.probes.running_kernel import RunningKernel
from tracers.machine import Machine


@dataclass(frozen=True, slots=True)
class Survey:
    """The machine, and what can be attached.

    ``ours``: [start, end) of the code whose WARNs are ours. ``traceable``: for each function
    "traceable" or why not. ``harmless``: probes that may be tried, to see what each kind of them
    costs. ``why``: why the window is not known, if it is not.
    """

    machine: Machine
    warn_sites: tuple[str, ...] = ()
    traceable: Mapping[str, str] = field(default_factory=dict)
    ladders: tuple[Ladder, ...] = ()
    harmless: Mapping[Rung, Probe] = field(default_factory=dict)
    ours: tuple[tuple[int, int], ...] = ALL
    notes: tuple[str, ...] = ()
    why: str = ""


def survey(kernel: RunningKernel, *, first: Rung = Rung.KPROBE, root: Path = Path("/")) -> Survey:
    """Return what ``kernel`` shows; ``first`` leaves out the rungs above (see ``ladders``)."""
    rungs, ours, tried = ladders(kernel, first=first), _ours(kernel), harmless(kernel)
    try:
        known = gather(kernel.text, live=True, root=root, running=kernel.files)
    except ConstantsError as error:
        own = Machine(release=os.uname().release, arch=os.uname().machine)
        note = f"the window is not known: {error}"
        return Survey(own, ladders=rungs, harmless=tried, ours=ours, notes=(note,), why=str(error))
    return Survey(
        known.machine(),
        tuple(f"{site.file}:{site.line}" for site in known.warn_sites),
        known.probeable,
        rungs,
        tried,
        ours,
        why=next(iter(known.missing.values()), "no source says"),
    )


def _ours(kernel: RunningKernel) -> tuple[tuple[int, int], ...]:
    """Return where the code of our functions lies: WARNs of these addresses are ours."""
    if kernel.text is None:
        return ALL
    wanted = [name for function in PATH for name in (function, f"{function}.cold")]
    spans = (kernel.text.extent(symbol) for symbol in kernel.text.symbols(wanted).values())
    mask = (1 << 64) - 1
    return (
        tuple(((first + kernel.slide) & mask, (end + kernel.slide) & mask) for first, end in spans)
        or ALL
    )
