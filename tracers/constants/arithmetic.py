# SPDX-License-Identifier: GPL-2.0-only
"""The window by arithmetic: the method "btf+formula", and a formula solved for the VA bits.

Promises: nothing is assumed; a number that no source gave, or that more than one value would fit,
is left open.
"""

from collections.abc import Mapping
from typing import Final

from tracers.constants.method_result import MethodResult
from tracers.families import VA_BITS, Family
from tracers.formulas import WindowError, family_for_release, formula

FACTS: Final = ("va_bits", "page_size", "struct_page")
_NEEDED: Final = {
    "va_bits": "the kernel's VA bits (its configuration: --config)",
    "page_size": "the page size (its configuration: --config)",
    "struct_page": "sizeof(struct page) (a kernel with BTF)",
}

#: fact -> (origin, value)
Chosen = Mapping[str, tuple[str, int]]


def by_formula(
    chosen: Chosen, others: Mapping[str, tuple[int, int]], release: str | None
) -> tuple[MethodResult | None, str]:
    """Return the window that the formula of the kernel's family gives, or None and why.

    The family is the release's if its formula gives what one of ``others`` (method -> window)
    says, else the one whose formula does, else the release's: vendors backport. The result's
    ``detail`` says which it was.
    """
    missing = [_NEEDED[name] for name in FACTS if name not in chosen]
    if missing:
        return None, f"not known: {', '.join(missing)}"
    sizes = {name: chosen[name][1] for name in FACTS}
    by_release: Family | None = None
    try:
        if release is not None:
            by_release = family_for_release(release)
        windows = {family: formula(family, **sizes) for family in Family}
    except WindowError as error:
        return None, str(error)
    order = sorted(Family, key=lambda family: family is not by_release)
    family = next((f for f in order if windows[f] in others.values()), by_release)
    if family is None:
        return None, "no release, and no other window, to choose a formula by"
    same = [name for name, window in others.items() if window == windows[family]]
    verb = "says" if len(same) == 1 else "say"
    why = f"as it gives what {', '.join(same)} {verb}" if same else f"by release {release}"
    if by_release is not None and family is not by_release:
        why += f", though release {release} is of {by_release.label}"
    rests = ", ".join(f"{name} {chosen[name][1]} ({chosen[name][0]})" for name in FACTS)
    start, end = windows[family]
    found = MethodResult(
        start,
        end,
        "btf+formula",
        f"formula of {family.label}, {why}: {rests}",
        va_bits=sizes["va_bits"],
        page_size=sizes["page_size"],
        struct_page=sizes["struct_page"],
    )
    return found, ""


def solve_va_bits(window: tuple[int, int], chosen: Chosen) -> int | None:
    """Return the VA bits with which, and only with which, a formula gives ``window``.

    None too where they are known already, or a size is not.
    """
    if "va_bits" in chosen or not {"page_size", "struct_page"} <= chosen.keys():
        return None
    page_size, struct_page = chosen["page_size"][1], chosen["struct_page"][1]
    try:
        fitting = {
            bits
            for bits in VA_BITS.get(page_size, ())
            for family in Family
            if formula(family, va_bits=bits, page_size=page_size, struct_page=struct_page) == window
        }
    except WindowError:
        return None
    return fitting.pop() if len(fitting) == 1 else None
