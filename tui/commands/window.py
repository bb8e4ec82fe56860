# SPDX-License-Identifier: GPL-2.0-only
"""The commands ``window`` and ``explain``: a kernel's constants, and the arithmetic with them.

Exit codes: 0 the window is known and nothing contradicts it, 3 methods contradict each other or
none gives it, 2 usage or unreadable input. The results of ``--cover`` and ``explain`` do not change
the code; that of ``--fit`` does: 1 if the region would be refused or lie outside, 3 if that is not
known. Without --release the calculator shows all families of releases side by side, as the same
numbers give four different windows and none is the natural default. ``tui.commands.main`` registers
both commands; each imports what it needs when it runs.
"""

# ruff: noqa: PLC0415

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tui.commands.calculator import calculator, parsed_by
from tui.commands.completing import files_or_samples
from tui.commands.numbers import KINDS, extent, parse_target, region_size
from tui.streams import say, write

if TYPE_CHECKING:
    from rich.console import Console

EXIT_OUTSIDE: Final = 1
EXIT_INCONCLUSIVE: Final = 3
_FILE = click.Path(path_type=Path)


@click.command(
    short_help="Tell VMEMMAP_START and VMEMMAP_END of a kernel.",
    epilog="Exit codes: 0 known and not contradicted (with --fit: the region fits and is covered), "
    "1 with --fit: it would lie outside the window or be refused, 2 usage or unreadable input, 3 "
    "methods contradict each other, none gives the window, or --fit cannot be told.",
)
@click.argument("vmlinux", required=False, type=_FILE)
@click.option("--live", is_flag=True, help="The running kernel, by /proc/kcore (root).")
@click.option("--config", type=_FILE, help="The kernel's configuration, as /boot/config-*.")
@click.option("--system-map", type=_FILE, help="Names for a file without: System.map, kallsyms.")
@click.option("--vmcoreinfo", type=_FILE, help="The VMCOREINFO note as a text file.")
@calculator
@click.option(
    "--cover",
    "cover_range",
    metavar="PHYS..PHYS",
    callback=parsed_by(extent),
    help="Can this physical range (also PHYS+SIZE) have struct pages in the window, and what "
    "would it take?",
)
@click.option(
    "--machine",
    type=_FILE,
    metavar="DIR",
    help="The folder of the machine's files: kcore-vmcoreinfo, iomem, config, uname.",
)
@click.option(
    "--fit",
    "fit_size",
    metavar="SIZE",
    callback=parsed_by(region_size),
    help="Where would this kernel put a device-private region of that size, is it covered, and in "
    "how many boots?",
)
@click.option(
    "--pa-range",
    type=click.Choice([str(bits) for bits in (32, 36, 40, 42, 44, 48, 52)]),
    help="With --fit: the CPU's physical address bits (ID_AA64MMFR0_EL1.PARange), which KASLR "
    "goes by.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def window(
    *,
    vmlinux: Path | None,
    live: bool,
    config: Path | None,
    system_map: Path | None,
    vmcoreinfo: Path | None,
    cover_range: tuple[int, int] | None,
    machine: Path | None,
    fit_size: int | None,
    pa_range: str | None,
    as_json: bool,
    **numbers: Any,  # noqa: ANN401 (the calculator's options by name)
) -> None:
    """Tell VMEMMAP_START and VMEMMAP_END of a kernel, by every method there is.

    VMLINUX is an arm64 kernel: vmlinux, Image, compressed or not, a vmcore or .BTF; with --live
    it is compared with the running one. A recording or sample:NAME shows what it carries.
    Without a kernel the window is computed from --va-bits, --page-size and --struct-page;
    without --release for all families of releases, side by side.

    Numbers may be written 0x80_0000_0000, 549755813888 or 512G.
    """
    from tui.commands.window_sources import computed, covering, fitting, gathered, of_spec, placed

    if pa_range is not None and fit_size is None:
        raise click.UsageError("--pa-range is for --fit")
    bits = None if pa_range is None else int(pa_range)
    if live or any((vmlinux, config, system_map, vmcoreinfo, machine)):
        _no_sizes(numbers, "a kernel")
        if system_map and not (vmlinux or live):
            raise click.UsageError("--system-map names what is in a file: name that, too")
        if vmlinux and not (live or config or system_map or vmcoreinfo or machine):
            base = of_spec(str(vmlinux))
        else:
            base = gathered(
                vmlinux,
                live=live,
                config=config,
                system_map=system_map,
                vmcoreinfo=vmcoreinfo,
                machine=machine,
            )
        reports = {"": covering(placed(base, numbers), cover_range)}
    else:
        reports = {name: covering(one, cover_range) for name, one in computed(numbers).items()}
    reports = {name: fitting(one, fit_size, bits) for name, one in reports.items()}
    report = next(iter(reports.values()))
    alone = len(reports) == 1
    if as_json:
        from recordings.reports.window_report import side_by_side, window_dict

        _json(window_dict(report) if alone else side_by_side(reports))
    else:
        from recordings.reports.window_text import render, render_families

        if alone:
            _print(lambda console: render(console, report))
        else:
            _print(lambda console: render_families(console, reports))
    if not report.conclusive or (fit_size is not None and report.fit is None):
        sys.exit(EXIT_INCONCLUSIVE)
    if report.fit is not None and not report.fit.good:
        sys.exit(EXIT_OUTSIDE)


@click.command()
@click.argument("addresses", metavar="ADDR|PFN|PHYS...", nargs=-1, required=True)
@click.option(
    "--as",
    "kind",
    type=click.Choice(KINDS),
    help="What the arguments are, where their prefix does not say: struct pages' addresses, "
    "page frame numbers, physical addresses.",
)
@click.option(
    "--window",
    "spec",
    metavar="SPEC",
    shell_complete=files_or_samples,
    help="Whose window: a recording, sample:NAME, a machine's folder or a kernel; or give the "
    "calculator's options instead.",
)
@calculator
def explain(
    *,
    addresses: tuple[str, ...],
    kind: str | None,
    spec: str | None,
    **numbers: Any,  # noqa: ANN401 (the calculator's options by name)
) -> None:
    """Say where struct pages lie and why, step by step.

    An argument is an address if it is in the kernel half or written with 16 digits; any other
    number needs --as or one of the prefixes addr: pfn: phys:. Ranges are START..END or
    START+SIZE.
    """
    try:
        targets = [parse_target(text, kind) for text in addresses]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    from recordings.reports.explain_text import render
    from tui.commands.window_sources import computed, of_spec, placed

    if spec is None:
        reports = computed(numbers)
        if len(reports) > 1:
            raise click.UsageError("the release decides the window: say --release or --window SPEC")
        report = next(iter(reports.values()))
    else:
        _no_sizes(numbers, "--window")
        report = placed(of_spec(spec), numbers)
    known, layout = report.window, report.layout
    if known is None or layout is None:
        why = next(iter((*report.problems, *report.missing.values())), "nothing in it says it")
        way = f"; for all that is known: vmemscope window {spec}" if spec else ""
        say(f"vmemscope: {spec}: its window is not known: {why}{way}")
        sys.exit(EXIT_INCONCLUSIVE)
    for problem in report.problems:
        say(f"problem: {problem}")
    _print(lambda console: render(console, known, layout, targets))


def _no_sizes(numbers: Mapping[str, Any], source: str) -> None:
    """Raise if the calculator's numbers are given where the kernel has them itself."""
    names = ("va_bits", "page_size", "struct_page", "release")
    if given := [f"--{name.replace('_', '-')}" for name in names if numbers[name] is not None]:
        raise click.UsageError(f"{', '.join(given)}: {source} says that itself; give one or other")


def _json(fields: Mapping[str, Any]) -> None:
    import json

    write(lambda: sys.stdout.write(json.dumps(fields, indent=2) + "\n"))


def _print(draw: "Callable[[Console], None]") -> None:
    from rich.console import Console

    write(lambda: draw(Console()))
