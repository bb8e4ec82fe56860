# SPDX-License-Identifier: GPL-2.0-only
"""``window --fit`` as JSON: where a region would be, whether it is covered, in how many boots.

Promises: keys are added, never removed; what is not known is null, and ``why`` says why.
"""

from typing import TYPE_CHECKING, Any

from recordings.wording.units import address

if TYPE_CHECKING:
    from tracers.fit import Fit


def fit_dict(fit: "Fit | None", unknown: str) -> dict[str, Any] | None:
    """Return it for ``window --json``; None without ``--fit``."""
    if fit is None:
        return {"result": "unknown", "why": unknown} if unknown else None
    from tracers.fit import Result  # noqa: PLC0415 (NumPy: only where a region was asked about)
    from tracers.kaslr import SEEDS  # noqa: PLC0415 (as above)

    none = fit.result is Result.NO_REGION
    return {
        "result": fit.result.value,
        "asked": fit.asked,
        "size": None if none else fit.size,
        "search_from": None if none else f"0x{fit.last:x}",
        "phys": None
        if fit.at is None
        else {"start": f"0x{fit.at:x}", "end": f"0x{fit.at + fit.size:x}"},
        "pages": None
        if fit.at is None
        else {"start": address(fit.start_page), "end": address(fit.end_page)},
        "regime": fit.regime.value if fit.regime else None,
        "lands_on": fit.lands_on or None,
        "largest_gap": None
        if fit.gap is None
        else {"start": f"0x{fit.gap.first:x}", "end": f"0x{fit.gap.end:x}"},
        "largest": None if none else fit.largest,
        "largest_covered": fit.largest_covered,
        "moves": fit.moves,
        "boots": [
            {
                "pa_range": each.pa_range,
                "seeds": SEEDS,
                "fits": each.fits,
                "covered": each.covered,
                "places": each.places,
            }
            for each in fit.chances
        ],
        "why": fit.why or None,
    }
