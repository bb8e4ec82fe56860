# SPDX-License-Identifier: GPL-2.0-only
"""``vmemscope record`` and ``vmemscope live``: capture what the running kernel does.

These are only the command lines: the work is in ``tui.capturing.session`` and
``tui.dashboard.live_app``, which are loaded when a command runs, so that ``--help`` stays quick and
``record`` loads no Textual.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from tui.commands.completing import files
from tui.commands.quantities import seconds_of, size_of
from tui.commands.terminal import require_terminal

_OPTIONS: Final = (
    click.option(
        "--engine",
        type=click.Choice(("auto", "bcc", "tracefs", "kmsg")),
        default="auto",
        help="How the kernel is asked. [default: bcc if it works here, else tracefs; where neither"
        " does, kmsg: what the kernel logs]",
    ),
    click.option("--pid", type=click.IntRange(1), help="Only this process (thread group)."),
    click.option("--comm", help="Only threads of this name (up to 15 bytes)."),
    click.option(
        "--hits-only",
        is_flag=True,
        help="Have the kernel drop populate and free calls inside the window.",
    ),
    click.option(
        "--light",
        is_flag=True,
        help="Disturb least: every address, by entries alone; sections and WARNs are not timed.",
    ),
    click.option(
        "--timing",
        is_flag=True,
        help="Only what is timed: vmemmap_free is not watched, vmemmap_populate derived.",
    ),
    click.option(
        "--rung",
        type=click.Choice(("fentry", "kprobe", "callsite", "breakpoint", "derived")),
        default="fentry",
        help="Leave out the more direct ways to see vmemmap_populate and sparse_add_section;"
        " fentry those to all functions.",
    ),
    click.option(
        "--vmlinux",
        type=click.Path(path_type=Path),
        help="The running kernel's image, where its memory cannot be read.",
    ),
    click.option(
        "--audit/--no-audit",
        default=True,
        help="Look at what is mapped outside the window before and after, as vmemscope audit does.",
    ),
)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what is captured."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(
    short_help="Record live events without a screen.",
    context_settings={"allow_interspersed_args": False},
    epilog="Exit codes: 0 clean, 1 out-of-range calls found, 2 the capture could not start or "
    "events could not be written, 3 inconclusive; with several files, of all of them together.",
)
@click.option(
    "-o", "--output", required=True, shell_complete=files, help="New file; - streams to stdout."
)
@source_options
@click.option(
    "--rotate-size",
    metavar="SIZE",
    callback=size_of,
    help="Begin a new file at this size: 64M, 1G.",
)
@click.option(
    "--rotate-time",
    metavar="DURATION",
    callback=seconds_of,
    help="Begin a new file after this time: 90s, 1h.",
)
@click.option(
    "--keep",
    type=click.IntRange(2),
    help="Delete the oldest file of this run beyond so many.",
)
@click.option(
    "--duration",
    metavar="DURATION",
    callback=seconds_of,
    help="Stop after this time, COMMAND or not: 30, 10min.",
)
@click.argument(
    "command",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[-- COMMAND…]",
    shell_complete=files,
)
def record(
    *,
    output: str,
    rotate_size: int | None,
    rotate_time: float | None,
    keep: int | None,
    duration: float | None,
    command: tuple[str, ...],
    **options: Any,  # noqa: ANN401 (those of ``source_options``)
) -> None:
    """Record what the kernel does to its struct pages, until SIGTERM, SIGINT, SIGHUP or SIGQUIT.

    COMMAND is run once all probes are on; the recording ends when it does. Signals are handed on
    to it; a second one does not wait for it.

    An event after a quiet moment is on the disk (fdatasync) at once, the next within 0.1 s. A
    machine that panics on a WARN or an Oops can take even that with it: stream it away.

    \b
        vmemscope record -o - | ssh HOST 'cat > FILE.arrows'

    With --rotate-*, FILE.arrows is followed by FILE.part000002.arrows and so on (by
    FILE.part000002 if it does not end in .arrows): sorted by name they are in order of time. Each
    is a whole recording; a call that spans two files has no end in one and no beginning in the
    other. A file ends with the batch that reaches the size, at most 0.1 s of events later.
    """  # noqa: D301 (click's mark for lines to be left as they are)
    from recordings.capture.rotation import Limits  # noqa: PLC0415
    from tui.capturing import session  # noqa: PLC0415

    limits = Limits(rotate_size, rotate_time, keep)
    sys.exit(session.record(output, limits, command, duration=duration, **options))


@click.command(short_help="The dashboard on live events, recording while it shows.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Record to this new file.")
@source_options
def live(output: Path | None, **options: Any) -> None:  # noqa: ANN401 (as above)
    """Open the dashboard on what the kernel does now.

    With -o everything is recorded, whatever the screen shows: pausing freezes the view, never the
    capture, and closing the terminal ends both with a whole file. Without -o only the numbers are
    kept. To look at the past meanwhile: vmemscope replay FILE, in another terminal.
    """
    require_terminal("live", "vmemscope record")
    if output == Path("-"):
        raise click.UsageError("live cannot stream: for that there is vmemscope record -o -")
    from tui.dashboard.live_app import run  # noqa: PLC0415

    sys.exit(run(output, **options))
