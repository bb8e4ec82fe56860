# SPDX-License-Identifier: GPL-2.0-only
"""The text of ``vmemscope doctor``: the result, then the probe points, then each check.

Promises: the first line says whether live capture works here and what is missing; what is not
"ok" is followed by the step that changes it, where there is one; text of the kernel goes through
``printable``; at most 80 columns wide when piped.
"""

from collections.abc import Iterator
from typing import Final

from rich.console import Console, ConsoleRenderable
from rich.text import Text

from recordings.reports import text_layout
from recordings.wording.escape import printable
from tracers.live.doctor.examine import NO, OK, Check, Diagnosis, Trial

_STYLES: Final = {OK: "green", NO: "red"}
_WIDTH: Final = 13


def render(console: Console, diagnosis: Diagnosis, distribution: str | None) -> None:
    """Print it; ``distribution`` None shows the steps of all of them."""
    text_layout.emit(console, _parts(diagnosis, distribution))


def _parts(diagnosis: Diagnosis, distribution: str | None) -> Iterator[ConsoleRenderable]:
    yield _result(diagnosis)
    yield text_layout.line("kernel", f"{printable(diagnosis.release)} {printable(diagnosis.arch)}")
    for trial in diagnosis.trials:
        yield from _trial(trial)
    yield text_layout.heading("What it rests on")
    for check in diagnosis.checks:
        yield from _check(check, distribution)


def _result(diagnosis: Diagnosis) -> ConsoleRenderable:
    best = diagnosis.best
    if best is None:
        return text_layout.hanging(
            Text("NOT POSSIBLE", "bold red"), "no engine works here: see below"
        )
    works = f"live capture by engine {best.engine}"
    if diagnosis.exit_code == 0:
        return text_layout.hanging(
            Text("READY", "bold green"), f"{works}: every call is seen and timed"
        )
    gaps = "; ".join((works, *map(printable, diagnosis.gaps)))
    return text_layout.hanging(Text("WITH GAPS", "bold yellow"), gaps)


def _trial(trial: Trial) -> Iterator[ConsoleRenderable]:
    yield text_layout.heading(f"Engine {trial.engine}")
    if trial.failed:
        yield text_layout.hanging(Text("no ", "red"), printable(trial.failed), width=5)
        return
    if trial.sees:
        yield text_layout.line("", Text(printable(trial.sees), "yellow"), width=2)
    for point in trial.attached:
        exact = point.probe is not None and point.probe.timed
        style = "dim" if point.absent else "green" if exact else "yellow"
        yield text_layout.line(
            "",
            Text.assemble((f"{printable(point.function)}  ", ""), (printable(point.how), style)),
            width=2,
        )
        if point.probe is not None:
            for rung, why in point.refused:
                yield text_layout.line("", Text(f"{rung.value}: {printable(why)}", "dim"), width=6)


def _check(check: Check, distribution: str | None) -> Iterator[ConsoleRenderable]:
    status = Text(f"{check.status:8}", _STYLES.get(check.status, "yellow"))
    text = Text.assemble(status, printable(check.finding))
    yield text_layout.line(check.name, text, width=_WIDTH)
    if check.status == OK:
        return
    own = check.steps.get(distribution or "")
    shown = {distribution or "": own} if own and distribution else dict(check.steps)
    if "" in check.steps:
        shown = {"": check.steps[""], **shown}
    for whose, step in shown.items():
        prefix = f"{whose}: " if whose else ""
        yield text_layout.line("", Text(f"→ {prefix}{printable(step)}", "cyan"), width=_WIDTH)
