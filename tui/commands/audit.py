# SPDX-License-Identifier: GPL-2.0-only
"""The command ``audit``: what has its struct pages outside the window now, without a probe.

Exit codes: 0 nothing has, 1 something has or the log shows that something had, 3 not known or
contradicted, 2 usage or unreadable input. ``tui.commands.main`` registers it.
"""

# ruff: noqa: PLC0415

import sys
from pathlib import Path

import click

from tui.commands.completing import files
from tui.streams import write


@click.command(
    short_help="Say what is mapped outside the window now.",
    epilog="Exit codes: 0 nothing is outside, 1 something is or was since boot, 3 not known or "
    "sources contradict each other, 2 usage or unreadable input.",
)
@click.argument("vmcore", required=False, type=click.Path(path_type=Path), shell_complete=files)
@click.option("--live", is_flag=True, help="The running kernel (root): what there is without more.")
@click.option(
    "--machine",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="A machine's files: kernel_page_tables, iomem, kcore-vmcoreinfo, uname, vmallocinfo.",
)
@click.option(
    "--log",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The machine's kernel log, in place of its own or of dmesg.txt in DIR.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def audit(
    *, vmcore: Path | None, live: bool, machine: Path | None, log: Path | None, as_json: bool
) -> None:
    """Say which memory has its struct pages outside the window now, and what was since boot.

    No probe is needed: page tables, memory sections, /proc/iomem and the kernel log are asked, each
    by itself, and held against each other. VMCORE is a dump of a kernel's memory.
    """
    if sum((live, machine is not None, vmcore is not None)) > 1:
        raise click.UsageError("--live, --machine and VMCORE exclude each other: give one")
    from recordings.audit.gathering import of_folder, of_running, of_vmcore

    if machine is not None:
        found = of_folder(machine, log)
    elif vmcore is not None:
        found = of_vmcore(vmcore, log)
    else:
        found = of_running(log)
    if as_json:
        import json

        from recordings.reports.audit_json import audit_dict

        text = json.dumps(audit_dict(found), indent=2) + "\n"
        write(lambda: sys.stdout.write(text))
    else:
        from rich.console import Console

        from recordings.reports.audit_text import render

        write(lambda: render(Console(), found))
    sys.exit(found.verdict.exit_code)
