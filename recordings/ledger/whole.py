# SPDX-License-Identifier: GPL-2.0-only
"""The numbers of a whole recording: as its closing record has them, or counted from its events.

Promises: both ways give the same, and both read every byte of the file. What is damaged, cut short,
of another version or in contradiction to itself is counted from its events. What counts is loaded
only then.
"""

from typing import TYPE_CHECKING

from recordings.ledger.figures import Case
from recordings.ledger.snapshot import Snapshot
from recordings.ledger.stored import figures_of

if TYPE_CHECKING:
    from recordings.format.parts import Readable


def fold(recording: "Readable", *, recount: bool = False) -> Snapshot:
    """Return all numbers of a whole recording, with the losses of the file itself.

    ``recount``: from its events, whatever its closing record says.
    """
    found = None if recount else kept(recording)
    if found is not None:
        return found
    from recordings.ledger.ledger import folded  # noqa: PLC0415 (as above)

    return folded(recording).snapshot(final=True)


def kept(recording: "Readable") -> Snapshot | None:
    """Return the numbers that its closing record has; None if they are not to be believed."""
    numbers = recording.numbers()
    if numbers is None:
        return None
    case = Case.of(recording.header).ended(recording.at_end)
    try:
        figures = figures_of(numbers, case)
    except ValueError:
        return None
    return case.snapshot(figures, numbers.contents.losses, final=True)
