# SPDX-License-Identifier: GPL-2.0-only
"""``vmemscope compare``: says whether recording A is slower than B, by how much, how surely.

Exit codes: 0 there is a result, whatever it is, as a comparison judges no kernel; 3 there is none:
too few calls, losses, nothing comparable; 2 usage or unreadable input. ``tui.commands.main``
registers it.
"""

# ruff: noqa: PLC0415

import sys

import click

from tui.commands.completing import files_or_samples
from tui.streams import say_problems, write


@click.command(
    short_help="Say whether A is slower than B, and how sure that is.",
    epilog="Exit codes: 0 answered, whatever the answer; 3 inconclusive: too few calls, losses, or "
    "nothing that can be compared; 2 usage or unreadable input.",
)
@click.argument("a", metavar="A", shell_complete=files_or_samples)
@click.argument("b", metavar="B", shell_complete=files_or_samples)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def compare(a: str, b: str, *, as_json: bool) -> None:
    """Say whether recording A is slower than recording B, by how much, and how sure that is.

    The two are aligned by operation and section, never by time: the n-th hot-add of so many pages
    with the n-th of as many, each section with the same one. Every ratio is A / B and has a 95 %
    interval (bootstrap), or says that there are too few calls for one.
    """
    from recordings.analysis.compare import compare as compared
    from recordings.analysis.compare import load_side
    from recordings.api import open_recording_or_sample

    sides = []
    for file in (a, b):
        with open_recording_or_sample(file) as recording:
            sides.append(load_side(file, recording))
            say_problems(file, recording.problems)
    comparison = compared(*sides)
    if as_json:
        import json

        from recordings.reports.compare_json import comparison_dict

        text = json.dumps(comparison_dict(comparison), indent=2) + "\n"
        write(lambda: sys.stdout.write(text))
    else:
        from rich.console import Console

        from recordings.reports.compare_text import render

        write(lambda: render(Console(), comparison))
    sys.exit(comparison.outcome.exit_code)
