# SPDX-License-Identifier: GPL-2.0-only
"""The ``vmemscope`` command: finds the commands, and has those without a file of their own.

stdout is for data, stderr for messages. Exit codes: 0 clean, 1 out-of-range calls found, 2 usage or
unreadable input, 3 inconclusive; ``tui.program`` turns errors into them. Each command imports what
it needs when it runs, so ``--help`` is quick and ``report`` never loads Textual.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from tracers import __version__
from tui.commands.completing import files, files_or_samples
from tui.commands.log_options import log_options
from tui.commands.terminal import require_terminal
from tui.streams import say, write

EXIT_INCONCLUSIVE = 3
_SPEEDS = ("0.25", "0.5", "1", "2", "4", "8", "16", "32", "64", "max")

_EPILOG = (
    "Exit codes: 0 clean, 1 out-of-range calls found, 2 usage or unreadable input, "
    "3 inconclusive (something is missing that the verdict needs)."
)


#: Command -> its module in this room; loaded with the command, not with every other one.
_ELSEWHERE: Final = {
    "audit": "audit",
    "boot": "boot",
    "check": "check",
    "compare": "compare",
    "doctor": "doctor",
    "explain": "window",
    "export": "export",
    "live": "record",
    "record": "record",
    "report": "report",
    "triage": "triage",
    "window": "window",
}


class _Commands(click.Group):
    """The commands of this file, and those ``_ELSEWHERE``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted({*self.commands, *_ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _ELSEWHERE and cmd_name not in self.commands:
            module = import_module(f"tui.commands.{_ELSEWHERE[cmd_name]}")
            self.add_command(getattr(module, cmd_name))
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG
)
@click.version_option(__version__, "-V", "--version", prog_name="vmemscope")
def cli() -> None:
    """See which struct pages an arm64 kernel maps outside its vmemmap window.

    FILE is a recording, or sample:NAME for one of those that ship with the tool.
    """


def _print_script(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from tracers.logs.kprobe_text.bpftrace import script

        write(lambda: sys.stdout.write(script()))
        context.exit()


@cli.command("import")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, shell_complete=files, help="New file; - streams to stdout."
)
@log_options
@click.option(
    "--bpftrace-script",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_script,
    help="Print vmemscope.bt, to be run with bpftrace; its output is a TRACE.",
)
def import_(
    trace: Path,
    output: str,
    machine: Path | None,
    vmlinux: Path | None,
    log_format: str | None,
    **numbers: Any,  # noqa: ANN401 (the calculator's options by name)
) -> None:
    """Make a recording of TRACE, what a kernel's tracer recorded or its log says.

    TRACE is ftrace's text, a trace-cmd file or trace-cmd report's text, what perf script prints,
    the output of vmemscope.bt (text or JSON), a kernel log (dmesg, console, syslog, journal, mail),
    or a dump of a kernel's memory, whose log is read with the machine that it describes; - is
    standard input. Packed by gzip, zstd or xz it is unpacked on the way, but for a dump. The new
    file is whole or not there, whatever ends the import. Exits with 3 when the log itself says that
    something is missing, or is of another architecture.

    Where calls fall needs the window: from --machine, --vmlinux, what the log itself says, or
    numbers given here. All that is there is compared.
    """
    from recordings.capture.importing import Imported, import_log
    from recordings.ledger.verdict import is_arm64
    from tracers.evidence import GIVEN
    from tui.commands.window_sources import told

    streaming = output == "-"
    if streaming and sys.stdout.isatty():
        raise click.UsageError("a recording is no text for a terminal: name a file with -o")
    facts, release = told(numbers), numbers["release"]
    done: Imported | None = None

    def run() -> None:
        nonlocal done
        done = import_log(
            trace,
            sys.stdout.buffer if streaming else Path(output),
            machine_dir=machine,
            vmlinux=vmlinux,
            log_format=log_format,
            facts=facts,
            release=(GIVEN, release) if release else None,
        )

    write(run)
    if done is None:
        say("stdout: its reader has gone away: nothing more was imported")
        return
    name = "stdout" if streaming else output
    say(f"{name}: {done.events} events, {done.derived} of them derived")
    for note in done.notes:
        say(f"note: {note}")
    foreign = not is_arm64(done.machine.arch)
    if foreign:
        say(f"this is not an arm64 log but one of {done.machine.arch}: nothing of it is judged")
    elif machine or vmlinux or facts or done.machine.window is not None:
        for problem in done.machine.problems:
            say(f"problem: {problem}")
    else:
        say("note: no --machine, --vmlinux or numbers: the window and where calls fall are unknown")
    if done.losses:
        say(f"missing: {done.losses.describe()}")
    if done.losses or foreign:
        sys.exit(EXIT_INCONCLUSIVE)


@cli.command(short_help="Open the dashboard; without FILE, on the bundled WARN storm.")
@click.argument("file", default="sample:storm", shell_complete=files_or_samples)
@click.option(
    "--speed",
    type=click.Choice(_SPEEDS),
    help="Of the trace's own time. [default: 0.25 for a sample, else 1]",
)
@click.option("--paused", is_flag=True, help="Start paused.")
def replay(file: str, speed: str | None, paused: bool) -> None:
    """Open the dashboard on FILE (the bundled WARN storm if none is named)."""
    from recordings.api import open_recording_or_sample
    from recordings.samples import PREFIX

    require_terminal("replay", "vmemscope report")
    speed = speed or ("0.25" if file.startswith(PREFIX) else "1")
    with open_recording_or_sample(file) as recording:
        from tui.dashboard.app import run

        sys.exit(run(recording, speed=None if speed == "max" else float(speed), paused=paused))
