# SPDX-License-Identifier: GPL-2.0-only
"""``vmemscope triage``: one command from a pasted log or a bug report to the answer.

Exit codes: that of the strongest verdict (out of range over inconclusive over clean); what could
not be read makes a clean one inconclusive; 2 if nothing could be read. ``tui.commands.main``
registers it; it imports what it needs when it runs, and never Textual nor pandas.
"""

# ruff: noqa: PLC0415

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tui.commands.completing import files_or_samples
from tui.commands.log_options import log_options
from tui.streams import say, write

if TYPE_CHECKING:
    from recordings.ledger.snapshot import Verdict
    from recordings.triage.reading import Options
    from recordings.triage.triage import Triaged
    from recordings.triage.workplace import Workplace

EXIT_UNREADABLE = 2


@click.command(
    short_help="From a pasted log or a bug report to the answer, and what is missing.",
    epilog="Exit codes: 0 clean, 1 out-of-range calls found, 2 usage or nothing readable, "
    "3 inconclusive. Of several the strongest: 1, then 3, then 0; with something unreadable "
    "never 0.",
)
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, shell_complete=files_or_samples
)
@log_options
@click.option("--json", "as_json", is_flag=True, help="Every log with its report, for programs.")
@click.option("--markdown", is_flag=True, help="For an issue.")
@click.option(
    "--reply",
    is_flag=True,
    help="A mail of at most 75 columns: report, what was read, what is missing.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Keep the recording of the log with most evidence in this new file.",
)
def triage(
    files: tuple[str, ...],
    *,
    machine: Path | None,
    vmlinux: Path | None,
    log_format: str | None,
    as_json: bool,
    markdown: bool,
    reply: bool,
    output: Path | None,
    **numbers: Any,  # noqa: ANN401 (the calculator's options by name)
) -> None:
    """Read each FILE, whatever of a bug report it is, and say what it proves and what is missing.

    FILE is a log in any form that import reads, a dump of a kernel's memory, - for standard input,
    a recording, or a folder, tar or zip of a bug report (sosreport, kdump, pstore, Android, or one
    with our own files). Logs and the files that describe the machine are found by name and by
    content; those in FILE are not used if --machine is given. Each log is judged by itself, as the
    journal and dmesg hold the same calls; that with most evidence is reported.

    Nothing is left behind but what -o keeps.
    """
    from recordings.triage.reading import Options
    from recordings.triage.triage import strongest
    from recordings.triage.workplace import Workplace
    from tracers.evidence import GIVEN
    from tui.commands.window_sources import told as window_told

    if as_json + markdown + reply > 1:
        raise click.UsageError("--json, --markdown and --reply: give one of them")
    if files.count("-") > 1:
        raise click.UsageError("standard input can be read once")
    _check(output, machine)
    release = (GIVEN, numbers["release"]) if numbers["release"] else None
    options = Options(machine, vmlinux, log_format, window_told(numbers), release)
    with Workplace() as place:
        told = _told(files, place, options, streaming=not (as_json or markdown or reply))
        verdict = strongest(
            [each.verdict for each in told if each.verdict is not None],
            whole=all(each.readings for each in told),
        )
        if as_json or markdown or reply:
            text = _document(told, verdict, as_json=as_json, mail=reply)
            write(lambda: sys.stdout.write(text))
        elif len(told) > 1:
            text = _summary(told)
            write(lambda: sys.stdout.write(text))
        if output is not None:
            _keep(told, output)
    sys.exit(EXIT_UNREADABLE if verdict is None else verdict.exit_code)


def _check(output: Path | None, machine: Path | None) -> None:
    """Find out what no log could be read with before one is read."""
    from recordings.format.output_files import exists_already
    from tracers.machine import side_files

    if output == Path("-"):
        raise click.UsageError("-o - : the report goes to standard output; name a file")
    if output is not None and os.path.lexists(output):
        raise exists_already(output)
    if machine is not None:
        side_files(machine)


def _told(
    files: Sequence[str], place: "Workplace", options: "Options", *, streaming: bool
) -> "list[Triaged]":
    """Read each file; say what cannot be read; print its report at once if it is ``streaming``."""
    from recordings.api import path_of
    from recordings.triage.triage import Triaged, triage
    from tracers.errors import VmemscopeError

    told = []
    for file in files:
        try:
            each = triage(path_of(file), place, options, name="stdin" if file == "-" else file)
        except VmemscopeError as error:  # there is no such sample
            each = Triaged(file, problems=(str(error),))
        told.append(each)
        for problem in each.problems:
            own = problem if problem.startswith(each.file) else f"{each.file}: {problem}"
            say(f"vmemscope: {own}")
        if streaming and each.readings:
            _print(each, name=len(files) > 1)
    return told


def _print(each: "Triaged", *, name: bool) -> None:
    from rich.console import Console

    from recordings.reports.triage_text import render_triage

    write(lambda: render_triage(Console(), each, name=name))


def _summary(told: "list[Triaged]") -> str:
    from recordings.ledger.headline import WORDS
    from recordings.wording.escape import printable

    return "".join(
        f"{printable(each.file)}: {WORDS[each.verdict] if each.verdict else 'UNREADABLE'}\n"
        for each in told
    )


def _document(
    told: "list[Triaged]", verdict: "Verdict | None", *, as_json: bool, mail: bool
) -> str:
    if as_json:
        import json

        from recordings.reports.triage_json import triage_dict

        return json.dumps(triage_dict(told, verdict), indent=2) + "\n"
    from recordings.reports.lkml import lkml
    from recordings.reports.markdown import markdown
    from recordings.reports.triage_document import triage_document

    readable = [each for each in told if each.readings]
    return (lkml if mail else markdown)(triage_document(readable)) if readable else ""


def _keep(told: "list[Triaged]", output: Path) -> None:
    """Keep the recording made of the log with most evidence."""
    import shutil

    from recordings.format.header import RecordingError
    from recordings.format.new_file import new_file

    made = [each for one in told for each in one.readings if each.recording is not None]
    if not made:
        raise RecordingError(f"{output}: not made: no log was read")
    best = max(made, key=lambda each: each.evidence)
    if best.recording is not None:
        with new_file(output) as file, best.recording.open("rb") as recording:
            shutil.copyfileobj(recording, file)
        say(f"{output}: {best.name}")
