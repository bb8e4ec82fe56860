# SPDX-License-Identifier: GPL-2.0-only
"""``window --fit`` as text: where a region would be, whether it is covered, how often.

Promises: the first line is the result; every sentence has the numbers it is based on; what is not
known is said, with the reason.
"""

from collections.abc import Iterator
from typing import Final

from rich.console import ConsoleRenderable
from rich.text import Text

from recordings.reports import text_layout
from recordings.wording.escape import printable
from recordings.wording.units import address, size
from tracers.fit import Chance, Fit, Result
from tracers.kaslr import SEEDS
from tracers.region_search import OUTSIDE, Search

_WORDS: Final = {
    Result.COVERED: ("FITS", "bold green"),
    Result.OUTSIDE: ("OUTSIDE", "bold red"),
    Result.REFUSED: ("REFUSED", "bold red"),
    Result.NO_REGION: ("NO REGION", "bold green"),
}


def fit_parts(fit: Fit | None, unknown: str, search: Search) -> Iterator[ConsoleRenderable]:
    """Yield the result and its reasons; nothing without ``--fit``."""
    if fit is None and not unknown:
        return
    if fit is None:
        yield text_layout.hanging(Text("NOT KNOWN", "bold yellow"), f"{printable(unknown)}.")
        return
    word, style = _WORDS[fit.result]
    yield text_layout.hanging(Text(word, style), verdict(fit))
    for sentence in sentences(fit, search):
        yield text_layout.hanging(Text(" "), printable(sentence))


def verdict(fit: Fit) -> str:
    """Return the result in one sentence."""
    what = size(fit.asked)
    if fit.result is Result.NO_REGION:
        return f"this kernel has {OUTSIDE}: device-private pages need no physical region."
    if fit.at is None:
        return f"request_free_mem_region() has no place for {what}: -ERANGE."
    where = f"0x{fit.at:x} - 0x{fit.at + fit.size:x}"
    if fit.result is Result.COVERED:
        return f"{what} would lie at {where}, all its struct pages in the window."
    regime = fit.regime.value if fit.regime else "outside"
    return f"{what} would lie at {where}, its struct pages {regime}, on {printable(fit.lands_on)}."


def sentences(fit: Fit, search: Search) -> Iterator[str]:
    """Yield the reasons."""
    if fit.result is Result.NO_REGION:
        return
    if fit.at is not None:
        yield f"Its struct pages: {address(fit.start_page)} - {address(fit.end_page)}."
    capped, step = search.origins.get("capped", ""), search.origins.get("by_size", "not known")
    ends = (
        f"the linear map ends (by {capped})"
        if search.capped
        else f"{search.physmem_bits} bits of physical addresses end (by {capped}, no PHYSMEM_END)"
    )
    by = "its size" if search.by_size else "sections"
    yield f"The search begins at 0x{fit.last:x}, where {ends}, and goes down by {by} (by {step})."
    if fit.gap is not None:
        gap = f"0x{fit.gap.first:x} - 0x{fit.gap.end:x}"
        yield f"The largest gap below is {gap}, {size(fit.gap.size)}."
    covered = (
        "not known"
        if fit.largest_covered is None
        else _exact(fit.largest_covered)
        if fit.largest_covered
        else "none"
    )
    yield f"The largest that fits: {_exact(fit.largest)}; the largest that is covered: {covered}."
    yield from _boots(fit)


def _exact(number: int) -> str:
    """Return a size, in bytes as well: the largest may be a section less than a round number."""
    return f"{size(number)} (0x{number:x})" if number else "none"


def _boots(fit: Fit) -> Iterator[str]:
    if fit.moves is None:
        yield f"In how many boots is not known: {fit.why}."
    elif not fit.moves:
        yield "memstart_addr does not move from boot to boot: so it is in every one."
    elif len(fit.chances) == 1:
        (only,) = fit.chances
        bits = "" if only.pa_range is None else f" (PARange {only.pa_range} bits)"
        most = "" if only.pa_range is not None else "up to "
        if only.places == 1:
            yield f"KASLR has no room to move memstart_addr{bits}: so it is in every boot."
            return
        yield (
            f"KASLR puts memstart_addr in {most}{only.places} places{bits}: {_shares(only)}, of all"
            f" {SEEDS} seeds."
        )
    else:
        told = "; ".join(f"{each.pa_range} bits: {_shares(each)}" for each in fit.chances)
        yield (
            "KASLR moves memstart_addr by what the CPU's physical bits (PARange) leave, which is"
            f" not known (--pa-range): {told}."
        )


def _shares(chance: Chance) -> str:
    fits, covered = (f"{100 * n / SEEDS:.4g} %" for n in (chance.fits, chance.covered))
    if chance.fits == chance.covered:
        return f"fits and is covered in {fits} of boots"
    return f"fits in {fits} of boots and is covered in {covered}"
