# SPDX-License-Identifier: GPL-2.0-only
"""The command ``doctor``: shows how much of live capture works here, and what to do for the rest.

Exit codes: 0 every probe point that the kernel has is seen and timed and the window is known, 3
capture works with gaps, 2 it does not work here. ``tui.commands.main`` registers it.
"""

import sys
from pathlib import Path

import click

from tui.streams import write


@click.command(
    short_help="Say what of live capture works on this machine.",
    epilog="Exit codes: 0 every call is seen and timed, 3 works with gaps, 2 not possible here.",
)
@click.option(
    "--vmlinux",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The running kernel's own file, for its code where /proc/kcore cannot be read, as for "
    "record and live.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def doctor(*, vmlinux: Path | None, as_json: bool) -> None:
    """Say what of live capture works on this machine, and what to do about the rest.

    Every probe is attached, disabled, and removed again: what is shown is what record and live
    would get. Run it as root.
    """
    from tracers.live.doctor.early import Early  # noqa: PLC0415

    # BCC compiles while all else is imported
    with Early() as early:
        from tracers.live.doctor.examine import examine  # noqa: PLC0415
        from tracers.live.doctor.steps import distribution  # noqa: PLC0415

        diagnosis = examine(vmlinux=vmlinux, early=early)
    if as_json:
        import json  # noqa: PLC0415

        from recordings.reports.doctor_json import diagnosis_dict  # noqa: PLC0415

        text = json.dumps(diagnosis_dict(diagnosis), indent=2) + "\n"
        write(lambda: sys.stdout.write(text))
    else:
        from rich.console import Console  # noqa: PLC0415

        from recordings.reports.doctor_text import render  # noqa: PLC0415

        write(lambda: render(Console(), diagnosis, distribution()))
    sys.exit(diagnosis.exit_code)
