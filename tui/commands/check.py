# SPDX-License-Identifier: GPL-2.0-only
"""``vmemscope check``: judges recordings for CI, one line a capture on stdout, and an exit code.

Exit codes: 0 every file is clean and within every threshold; 1 a file has calls or an Oops out of
range, or broke a threshold; 3 otherwise, if a verdict or a threshold is inconclusive; 2 usage, or a
file that cannot be read. Files that one capture was rotated into are judged as one. Of several the
worst code counts, 2 before 1 before 3 before 0: see ``recordings.analysis.thresholds.worst``.
``tui.commands.main`` registers it.
"""

# ruff: noqa: PLC0415

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from tui.commands.captures import RECOUNT, captures_of
from tui.commands.completing import files_or_samples
from tui.commands.quantities import nanoseconds_of, percent_of
from tui.streams import say, write

if TYPE_CHECKING:
    from recordings.analysis.thresholds import Thresholds
    from recordings.format.parts import Parts

EXIT_UNREADABLE = 2


@click.command(
    short_help="Gate for CI: one line a capture, and an exit code.",
    epilog="Exit codes: 0 clean and within the thresholds; 1 calls or an Oops out of range, or a"
    " threshold is broken; 2 usage or unreadable input; 3 inconclusive, or a threshold cannot be"
    " told. Of several files the worst: 2, then 1, then 3.",
)
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, shell_complete=files_or_samples
)
@click.option(
    "--max-warn-share",
    callback=percent_of,
    metavar="PERCENT",
    help="WARN may take at most so much of hot-add, and of hot-remove.",
)
@click.option(
    "--max-p99",
    metavar="DURATION",
    callback=nanoseconds_of,
    help="99 % of sparse_add_section calls take at most so long: 500us, 2ms.",
)
@click.option(
    "--expect-sections",
    type=click.IntRange(0),
    metavar="N",
    help="Exactly so many sections were added.",
)
@click.option("--recount", is_flag=True, help=RECOUNT)
def check(
    files: tuple[str, ...],
    *,
    recount: bool,
    max_warn_share: float | None,
    max_p99: int | None,
    expect_sections: int | None,
) -> None:
    """Say of each FILE whether it is clean and within the thresholds; fail if one is not.

    A FILE may be a folder: all recordings in it. The files that one capture was rotated into are
    judged as one; while one of them is missing the verdict is at best inconclusive.

    A threshold that cannot be evaluated (no sparse_add_section was observed, WARNs were not timed,
    events are missing) is inconclusive, never kept.
    """
    from recordings.analysis.thresholds import Thresholds, worst
    from recordings.wording.escape import printable

    limits = Thresholds(max_warn_share, max_p99, expect_sections)
    codes = []
    for name, capture in captures_of(files):
        if isinstance(capture, str):
            say(f"vmemscope: {capture}")
            code, line = EXIT_UNREADABLE, "UNREADABLE"
        else:
            code, line = _check(capture, limits, recount=recount)
        codes.append(code)
        text = f"{printable(name)}: {line}\n"
        write(partial(sys.stdout.write, text))
    sys.exit(worst(codes))


def _check(capture: "Parts", limits: "Thresholds", *, recount: bool) -> tuple[int, str]:
    """Return a capture's exit code and the text of its line."""
    from recordings.analysis.thresholds import State, check, exit_code
    from recordings.ledger.headline import WORDS, verdict_summary
    from recordings.ledger.whole import fold
    from recordings.wording.escape import printable

    snapshot = fold(capture, recount=recount)
    checks = check(capture, snapshot, limits)
    why = "; ".join((*capture.missing, verdict_summary(snapshot)))
    parts = [f"{WORDS[snapshot.verdict]}, {why}"]
    for state, word in ((State.BROKEN, "FAILED"), (State.UNKNOWN, "CANNOT TELL")):
        findings = [f"{word} {c.option}: {c.finding}" for c in checks if c.state is state]
        parts += map(printable, findings)
    return exit_code(snapshot.verdict, checks), "; ".join(parts)
