# SPDX-License-Identifier: GPL-2.0-only
"""Where a window for the command line comes from: a kernel's files, a recording, or numbers.

Promises: what was given wins over what was found and its provenance says so; a missing number is
a usage error that names the option, everything else a ``VmemscopeError`` of one line.
"""

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from recordings.reports.window_report import WindowReport
from recordings.samples import PREFIX, sample_names, sample_path
from tracers.constants.errors import ConstantsError
from tracers.cover import cover
from tracers.evidence import GIVEN, RAM_START, SANE
from tracers.families import Family
from tracers.formulas import WindowError, family_for_release, formula
from tracers.layout import layout_for
from tracers.machine import Machine, read_machine
from tracers.memstart import memstart_from_ram
from tracers.regular_files import read_regular
from tracers.window import Window

_SIZES: Final = ("va_bits", "page_size", "struct_page")


def computed(numbers: Mapping[str, Any]) -> dict[str, WindowReport]:
    """Return the windows that the given numbers make, by family: one with a release, else all."""
    sizes = {name: numbers[name] for name in _SIZES}
    if missing := [f"--{name.replace('_', '-')}" for name, value in sizes.items() if value is None]:
        raise click.UsageError(
            f"name a kernel, or give all of its numbers: {', '.join(missing)} missing"
        )
    release = numbers["release"]
    families = tuple(Family) if release is None else (family_for_release(release),)
    provenance = dict.fromkeys(sizes, "given")
    provenance["window"] = "formula" if release is None else "release+formula"
    reports: dict[str, WindowReport] = {}
    for family in families:
        start, end = formula(family, **sizes)
        window = Window(start, end, family=family, provenance=provenance, **sizes)
        report = WindowReport("numbers given", window, layout_for(window), release)
        reports[family.label] = placed(report, numbers)
    return reports


def told(numbers: Mapping[str, Any]) -> dict[str, list[tuple[str, int]]]:
    """Return the given numbers as facts for ``tracers.machine.assemble``, whose provenance is that.

    Raises:
        click.UsageError: they contradict each other, or no arm64 kernel has one.
    """
    _placed_once(numbers)
    _bits_fit(numbers["va_bits"], numbers["vabits_actual"])
    for name, sane in SANE.items():
        if numbers.get(name) is not None and numbers[name] not in sane:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} {numbers[name]}: no arm64 kernel has that")
    names = {name: name for name in (*_SIZES, "vabits_actual", "memstart")} | {"ram": RAM_START}
    return {
        fact: [(GIVEN, numbers[name])] for name, fact in names.items() if numbers[name] is not None
    }


def _placed_once(numbers: Mapping[str, Any]) -> None:
    if numbers["memstart"] is not None and numbers["ram"] is not None:
        raise click.UsageError("--memstart and --ram say the same thing twice: give one")


def _bits_fit(bits: int | None, actual: int | None) -> None:
    if bits is not None and actual is not None and actual > bits:
        raise click.UsageError(f"a {bits}-bit kernel has no {actual} bits in use")


def placed(report: WindowReport, numbers: Mapping[str, Any]) -> WindowReport:
    """Return the report with memstart_addr and the CPU's bits as they were given, if they were."""
    memstart, ram, actual = (numbers[name] for name in ("memstart", "ram", "vabits_actual"))
    _placed_once(numbers)
    window = report.window
    if window is None or (memstart is None and ram is None and actual is None):
        return report
    facts: dict[str, Any] = {}
    if actual is not None:
        _bits_fit(window.va_bits, actual)
        changed = window.with_bits(actual)
        facts["vabits_actual"] = actual
        if changed.memstart != window.memstart:
            facts["memstart"] = changed.memstart
    if ram is not None:
        facts["memstart"] = _memstart(ram, window, report.release, actual)
    elif memstart is not None:
        facts["memstart"] = memstart
    provenance = {**window.provenance, **dict.fromkeys(facts, "given")}
    if "memstart" in facts and memstart is None:
        own = window.provenance.get("memstart", "origin not known")
        provenance["memstart"] = f"{own}, moved for {actual} bits in use"
    if ram is not None:
        provenance["memstart"] = "RAM given, formula without KASLR"
    found = replace(window, provenance=provenance, **facts)
    layout = layout_for(found) if actual is not None else report.layout
    return replace(report, window=found, layout=layout)


def _memstart(ram: int, window: Window, release: str | None, actual: int | None) -> int:
    kernel = window if actual is None else replace(window, vabits_actual=actual)
    try:
        return memstart_from_ram(kernel, ram, release=release)
    except WindowError as error:
        raise click.UsageError(f"--ram: {error}; give --memstart") from error


def gathered(
    kernel: Path | None = None,
    *,
    live: bool = False,
    config: Path | None = None,
    system_map: Path | None = None,
    vmcoreinfo: Path | None = None,
    machine: Path | None = None,
) -> WindowReport:
    """Return what every method finds in a kernel's files; a vmcore's note is read like a text's."""
    # capstone and pyelftools: the calculator needs neither
    from tracers.constants.gather import gather  # noqa: PLC0415
    from tracers.constants.image.kernel_image import open_kernel  # noqa: PLC0415

    note = vmcoreinfo
    with ExitStack() as stack:
        image = None
        if kernel is not None and _is_core(kernel):
            if note is not None:
                raise click.UsageError("a core file has its own VMCOREINFO: leave --vmcoreinfo out")
            note = kernel
            with suppress(ConstantsError):  # its note may do; if not, gather says that
                image = stack.enter_context(open_kernel(kernel, system_map=system_map))
        elif kernel is not None:
            image = stack.enter_context(open_kernel(kernel, system_map=system_map))
        found = gather(
            image,
            config=config,
            system_map=system_map,
            kcore=note,
            live=live,
            machine_dir=machine,
        )
    named = [str(path) for path in (kernel, vmcoreinfo, config, machine) if path is not None]
    return WindowReport(
        ", ".join(["the running kernel"] * live + named),
        found.window,
        found.machine().layout,
        found.release,
        found.build_id,
        found.methods,
        agree=found.agree,
        problems=found.problems,
        missing=found.missing,
        warn_sites=found.warn_sites,
        probeable=found.probeable,
        search=found.machine().search,
        iomem=found.machine().iomem,
    )


def _is_core(path: Path) -> bool:
    """Say whether a file is a vmcore or /proc/kcore; one that cannot be read fails later."""
    if path.name == "kcore":
        return True
    from tracers.constants.core_file import looks_like_core  # noqa: PLC0415 (as above)

    return looks_like_core(_head(path, 64))


def _head(path: Path, number: int) -> bytes:
    """Return the first bytes of a regular file, b"" of anything else."""
    try:
        return read_regular(path, number)
    except (OSError, ValueError):
        return b""


def covering(report: WindowReport, asked: tuple[int, int] | None) -> WindowReport:
    """Return the report with what covers the physical range ``asked``."""
    if asked is None or report.window is None or report.layout is None:
        return report
    if report.window.memstart is None:
        raise click.UsageError("--cover needs --memstart, or --ram for where RAM begins")
    return replace(report, cover=cover(report.window, report.layout, *asked))


def fitting(report: WindowReport, size: int | None, pa_range: int | None) -> WindowReport:
    """Return the report with where this kernel would put a region of ``size`` bytes."""
    if size is None:
        return report
    if report.window is None or report.layout is None:
        return replace(report, fit_unknown="the window is not known")
    if not report.agree:
        return replace(report, fit_unknown="the sources contradict each other")
    from tracers.fit import fit  # noqa: PLC0415 (NumPy)

    search = report.search.completed(report.release)
    try:
        found = fit(
            size,
            report.window,
            report.layout,
            search,
            report.iomem,
            release=report.release,
            pa_range=pa_range,
        )
    except WindowError as error:
        return replace(report, search=search, fit_unknown=str(error))
    return replace(report, search=search, fit=found)


def of_spec(spec: str) -> WindowReport:
    """Return the window of a recording, a sample, a machine's folder or a kernel."""
    if spec.startswith(PREFIX):
        try:
            path = sample_path(spec.removeprefix(PREFIX))
        except KeyError:
            names = ", ".join(sample_names())
            raise click.UsageError(f"no such sample; there are {names}") from None
    else:
        path = Path(spec)
        if path.is_dir():
            return _of_machine(spec, read_machine(path))
        from recordings.format.framing import MARKER  # noqa: PLC0415 (pyarrow: as below)

        head = _head(path, 64)
        if head and not head.startswith(MARKER):
            return gathered(path)
    from recordings.format.reader import open_recording  # noqa: PLC0415 (pyarrow: no kernel needs it)

    with open_recording(path) as recording:
        return _of_machine(spec, recording.header.machine)


def _of_machine(source: str, machine: Machine) -> WindowReport:
    return WindowReport(
        source,
        machine.window,
        machine.layout,
        machine.release,
        machine.build_id,
        agree=machine.agree,
        problems=machine.problems,
        search=machine.search,
        iomem=machine.iomem,
    )
