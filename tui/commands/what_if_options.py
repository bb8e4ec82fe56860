# SPDX-License-Identifier: GPL-2.0-only
"""The options of a what-if, and the what-if they make: another layout, placement or patch.

Promises: what was not given is the recording's own, and said to be; a window is never judged
without memstart_addr, which decides where pages lie in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tui.commands.calculator import calculator, parsed_by
from tui.commands.completing import files_or_samples
from tui.commands.numbers import number

if TYPE_CHECKING:
    from recordings.analysis.what_if import WhatIf
    from recordings.reports.window_report import WindowReport
    from tracers.machine import Machine

_F = TypeVar("_F", bound=Callable[..., Any])
#: Word for the end of this very machine's linear map.
LINEAR: Final = "linear"
_SIZES: Final = ("va_bits", "page_size", "struct_page")
_PLACES: Final = ("memstart", "ram", "vabits_actual")


def _end(text: str) -> int | str:
    return LINEAR if text == LINEAR else number(text)


def what_if_options(function: _F) -> _F:
    """Give a command the options of a what-if."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_OPTIONS: Final = (
    click.option(
        "--window-of",
        metavar="SPEC",
        shell_complete=files_or_samples,
        help="What if the window were that of this kernel (vmlinux, Image), recording, sample or "
        "machine's folder?",
    ),
    calculator,
    click.option(
        "--physmem-end",
        metavar="ADDR|linear",
        callback=parsed_by(_end),
        help="What if device regions were placed at most up to this physical address? linear: "
        "the end of the linear map, as kernels since 6.12 do.",
    ),
    click.option(
        "--warn",
        type=click.Choice(("once", "always", "error")),
        help="What if the kernel warned once, warned always, or refused?",
    ),
)


def what_if_from(options: Mapping[str, Any], machine: "Machine") -> "WhatIf | None":
    """Return the what-if that the options make of a recording of ``machine``; None without any.

    Raises:
        click.UsageError: the options contradict each other, or not enough is known.
        VmemscopeError: a file that they name cannot be read, or a number is impossible.
    """
    if all(value is None for value in options.values()):
        return None
    from recordings.analysis.what_if import Warn, WhatIf  # noqa: PLC0415
    from tracers.placement import physmem_end  # noqa: PLC0415

    report = _layout(options, machine)
    end, warn = options["physmem_end"], options["warn"]
    if report is None and end is None and warn is None:
        return None
    window = report.window if report else None
    if end == LINEAR:
        judged = window or machine.window
        if judged is None:
            raise click.UsageError("--physmem-end linear: the recording's window is not known")
        end = physmem_end(judged)
    return WhatIf(
        window=window,
        layout=report.layout if report else None,
        whose=report.source if report else "",
        physmem_end=end,
        warn=Warn(warn) if warn else None,
    )


def _layout(options: Mapping[str, Any], machine: "Machine") -> "WindowReport | None":
    """Return the other layout, with memstart_addr; None if none is asked for."""
    from recordings.reports.window_report import WindowReport  # noqa: PLC0415
    from tracers.memstart import with_memstart_of  # noqa: PLC0415
    from tui.commands.window_sources import of_spec, placed  # noqa: PLC0415

    spec = options["window_of"]
    numbers = {name: options[name] for name in (*_SIZES, *_PLACES, "release")}
    sized = [name for name in (*_SIZES, "release") if numbers[name] is not None]
    if spec is not None:
        if sized:
            options_given = ", ".join(f"--{name.replace('_', '-')}" for name in sized)
            raise click.UsageError(
                f"{options_given}: --window-of says that itself; give one or other"
            )
        report = of_spec(spec)
        if report.window is None:
            raise click.UsageError(f"--window-of {spec}: its window is not known")
    elif sized:
        report = _computed(numbers, machine)
    elif any(numbers[name] is not None for name in _PLACES):
        report = WindowReport("the recording's own", machine.window, machine.layout)
        if report.window is None:
            raise click.UsageError("the recording's window is not known: give --window-of")
    else:
        return None
    given = placed(report, numbers)
    if given.window is None or given.window.memstart is not None:
        return given
    ram = min((first for first, _, name in machine.iomem if name == "System RAM"), default=None)
    window = with_memstart_of(given.window, machine.window, ram, release=report.release)
    if window is None:
        raise click.UsageError("where RAM begins is not known: give --memstart or --ram")
    return replace(given, window=window)


def _computed(numbers: dict[str, Any], machine: "Machine") -> "WindowReport":
    """Return the window of the numbers given, the recording's own where none is."""
    from tui.commands.window_sources import computed  # noqa: PLC0415

    own = machine.window
    filled = [n for n in _SIZES if numbers[n] is None and own and getattr(own, n) is not None]
    every = numbers | {name: getattr(own, name) for name in filled}
    every["release"] = numbers["release"] or machine.release
    if every["release"] is None:
        raise click.UsageError("the release decides the window: give --release")
    (report,) = computed(every).values()
    words = ", ".join(
        f"{name.replace('_', ' ')} {every[name]}" for name in _SIZES if name not in filled
    )
    release = f"release {every['release']}"
    return replace(report, source=", ".join(filter(None, (words, release))))
