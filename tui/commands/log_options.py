# SPDX-License-Identifier: GPL-2.0-only
"""The options that say how a log is to be read, of the commands that read one.

Promises: one definition of each; they load no reader, so that ``--help`` stays quick.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tui.commands.calculator import calculator

#: Names of the log formats (tracers.logs.formats.FORMATS): here they load nothing.
LOG_FORMATS: Final = ("trace.dat", "bpftrace", "trace-cmd", "perf", "ftrace", "dmesg")
_F = TypeVar("_F", bound=Callable[..., Any])
_OPTIONS: Final = (
    click.option(
        "--machine",
        type=click.Path(path_type=Path),
        help="Folder with the machine's kcore-vmcoreinfo, iomem, config, uname, "
        "kernel_page_tables, kprobe_events; each is optional.",
    ),
    click.option(
        "--vmlinux",
        type=click.Path(path_type=Path),
        help="The kernel's image (vmlinux, Image, vmlinuz): its window, read from its code.",
    ),
    click.option(
        "--format",
        "log_format",
        type=click.Choice(LOG_FORMATS),
        help="What the log is, where its first lines do not tell.",
    ),
)


def log_options(function: _F) -> _F:
    """Give a command what else is known of a log's machine: files, format and numbers."""
    function = calculator(function)
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
