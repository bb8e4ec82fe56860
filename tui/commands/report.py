# SPDX-License-Identifier: GPL-2.0-only
"""``vmemscope report``: prints what a recording says, as text, JSON, markdown or a mail.

Exit codes: that of the recording's verdict; with a what-if, of the hypothetical one.
``tui.commands.main`` registers it; it imports what it needs when it runs, and never Textual nor
pandas.
"""

# ruff: noqa: PLC0415

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from tui.commands.captures import RECOUNT, captures_of
from tui.commands.completing import files_or_samples
from tui.commands.what_if_options import what_if_from, what_if_options
from tui.streams import say, say_problems, write

if TYPE_CHECKING:
    from recordings.analysis.what_if import WhatIfResult
    from recordings.format.parts import Parts, Readable
    from recordings.ledger.snapshot import Snapshot

_LISTED: Final = 3
FORMATS: Final = ("text", "json", "markdown", "lkml")


@click.command(
    short_help="Print what FILE says: hits, warnings, costs.",
    epilog="Exit codes: 0 clean, 1 calls or an Oops out of range, 2 usage or unreadable input, "
    "3 inconclusive; with a what-if, those of the hypothetical verdict.",
)
@click.argument("file", shell_complete=files_or_samples)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(FORMATS),
    help="lkml: a mail of at most 75 columns. [default: text]",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--recount", is_flag=True, help=RECOUNT)
@what_if_options
def report(
    file: str,
    *,
    output_format: str | None,
    as_json: bool,
    recount: bool,
    **options: Any,  # noqa: ANN401 (those of ``what_if_options``)
) -> None:
    """Print what FILE says: hits, warnings, costs. The exit code is the verdict.

    FILE may be a folder with the files that one capture was rotated into: they are read as one.

    With a what-if (--window-of, --va-bits …, --memstart, --physmem-end, --warn) the same pages
    are judged under another layout, placement or patch: would it have fixed it? That result is
    marked as hypothetical, and the exit code is its verdict's.
    """
    from recordings.ledger.whole import fold

    if as_json and output_format not in (None, "json"):
        raise click.UsageError(f"--json and --format {output_format}: give one or other")
    output_format = "json" if as_json else output_format or "text"
    recording = _capture(file)
    snapshot = fold(recording, recount=recount)
    asked = what_if_from(options, recording.header.machine)
    what_if = None
    if asked is not None:
        from recordings.analysis.what_if import judge_what_if

        what_if = judge_what_if(recording, asked, snapshot)
    _print(output_format, recording, snapshot, what_if)
    say_problems(file, recording.problems)
    sys.exit((what_if or snapshot).verdict.exit_code)


def _capture(file: str) -> "Parts":
    """Return the one capture that ``file`` is or holds; say which files cannot be read."""
    from recordings.format.header import RecordingError
    from recordings.format.parts import Parts

    found = list(captures_of([file]))
    captures = [capture for _, capture in found if isinstance(capture, Parts)]
    errors = [error for _, error in found if isinstance(error, str)]
    if len(captures) > 1:
        names = ", ".join(str(capture.paths[0]) for capture in captures[:_LISTED])
        more = f" and {len(captures) - _LISTED} more" if len(captures) > _LISTED else ""
        raise RecordingError(f"{file} holds {len(captures)} captures: name one: {names}{more}")
    if not captures:
        raise RecordingError(errors[0])
    for error in errors:
        say(f"vmemscope: {error}")
    return captures[0]


def _print(
    output_format: str, recording: "Readable", snapshot: "Snapshot", what_if: "WhatIfResult | None"
) -> None:
    header, closing = recording.header, recording.closing_notes
    match output_format:
        case "json":
            import json

            from recordings.reports.recording_json import report_dict

            fields = report_dict(header, snapshot, closing=closing)
            fields["what_if"] = None
            if what_if is not None:
                from recordings.reports.what_if_report import what_if_dict

                fields["what_if"] = what_if_dict(what_if)
            text = json.dumps(fields, indent=2) + "\n"
        case "text":
            from rich.console import Console

            from recordings.reports.recording_text import render

            write(lambda: render(Console(), header, snapshot, closing=closing, what_if=what_if))
            return
        case _:
            from recordings.analysis.what_if import remedies
            from recordings.reports.lkml import lkml
            from recordings.reports.markdown import markdown
            from recordings.reports.recording_document import document_of

            draw = lkml if output_format == "lkml" else markdown
            text = draw(
                document_of(
                    header,
                    snapshot,
                    closing=closing,
                    what_if=what_if,
                    # with a what-if, only that one is shown
                    remedies=() if what_if else remedies(recording, snapshot),
                )
            )
    write(lambda: sys.stdout.write(text))
