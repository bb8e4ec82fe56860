# SPDX-License-Identifier: GPL-2.0-only
"""The machine a trace is from: its kernel, window and address layout, read from side files.

Promises: the kernel's own constants come before any formula; every source that disagrees with
another is named in ``problems``; whatever the files hold, the only error is ``MachineError``. What
looks for the window is loaded by who looks for one: a recording has it already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tracers.errors import VmemscopeError
from tracers.layout import Layout, layout_for, marks, named
from tracers.region_search import UNKNOWN, Search, by_files
from tracers.window import Window

if TYPE_CHECKING:
    from tracers.evidence import Evidence, Told
    from tracers.machine_files import SideFiles
    from tracers.page_tables import Mark


class MachineError(VmemscopeError):
    """The side files, or a stored machine, cannot be used at all; one line says why."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known of one machine; ``Machine()`` is one of which nothing is."""

    release: str | None = None
    build_id: str | None = None
    arch: str | None = None
    window: Window | None = None
    layout: Layout | None = None
    iomem: tuple[tuple[int, int, str], ...] = ()  # first, last, name: physical addresses
    config: Mapping[str, str] = field(default_factory=dict, hash=False)  # machine_files.CONFIG_KEPT
    sources: tuple[str, ...] = ()  # names of the files read
    problems: tuple[str, ...] = ()  # disagreements and what could not be read, one line each
    agree: bool = True  # False: two sources contradict each other, so no verdict can be trusted
    search: Search = UNKNOWN  # how this kernel looks for a free physical region

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe dictionary; addresses as "0x…" strings."""
        return {
            "release": self.release,
            "build_id": self.build_id,
            "arch": self.arch,
            "window": self.window.to_dict() if self.window else None,
            "layout": self.layout.to_dict() if self.layout else None,
            "iomem": [[f"0x{first:x}", f"0x{last:x}", name] for first, last, name in self.iomem],
            "config": dict(self.config),
            "sources": list(self.sources),
            "problems": list(self.problems),
            "agree": self.agree,
            "search": self.search.to_dict(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild a machine from ``to_dict``'s dictionary; unknown keys are passed over.

        Raises:
            MachineError: it is none.
        """
        try:
            window = (
                Window.from_dict(stored["window"]) if stored.get("window") is not None else None
            )
            layout = (
                Layout.from_dict(stored["layout"]) if stored.get("layout") is not None else None
            )
            if window is not None and layout is not None:
                layout = named(layout, window)  # older recordings call gaps "unused"
            return cls(
                release=_text(stored.get("release")),
                build_id=_text(stored.get("build_id")),
                arch=_text(stored.get("arch")),
                window=window,
                layout=layout,
                iomem=tuple(
                    (_address(first), _address(last), str(name))
                    for first, last, name in stored.get("iomem") or ()
                ),
                config={str(k): str(v) for k, v in (stored.get("config") or {}).items()},
                sources=tuple(str(name) for name in stored.get("sources") or ()),
                problems=tuple(str(line) for line in stored.get("problems") or ()),
                agree=stored.get("agree") is not False,
                search=Search.from_dict(stored.get("search") or {}),
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise MachineError(f"not a machine: {error}") from error


def read_machine(folder: Path) -> Machine:
    """Read what the side files in ``folder`` say; every one of ``machine_files.CAPS`` is optional.

    Raises:
        MachineError: no such directory, or none of the files in it.
    """
    return assemble(side_files(folder))


def side_files(folder: Path) -> "SideFiles":
    """Return the text of the side files in ``folder``, at least one.

    Raises:
        MachineError: no such directory, or none of the files in it.
    """
    from tracers import machine_files  # noqa: PLC0415 (a recording needs none)

    try:
        files = machine_files.read_side_files(folder)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MachineError(f"{folder}: the machine's files cannot be read: {reason}") from error
    if not files.texts:
        reason = "; ".join(files.problems) or f"looked for {', '.join(machine_files.CAPS)}"
        raise MachineError(f"{folder}: no file that describes a machine ({reason})")
    return files


def assemble(
    files: "SideFiles",
    *,
    facts: "Mapping[str, Told] | None" = None,
    windows: Sequence[tuple[str, int, int]] = (),
    release: tuple[str, str] | None = None,
    releases: Sequence[tuple[str, str]] = (),
) -> Machine:
    """Return the machine that all sources together describe.

    ``facts``: further (origin, value) pairs by fact: ``Window``'s integer fields, the borders
    vmcoreinfo may give ("VMALLOC_START"…), and those that ``tracers.evidence`` names. ``windows``:
    further (origin, start, end), most trusted first. ``release``: (origin, release);
    ``releases``: further ones, where more than one is said. What is in ``files`` comes before all
    of these; there need not be any. What disagrees is in the machine's problems.
    """
    from tracers.evidence import Evidence  # noqa: PLC0415 (as above)
    from tracers.machine_window import find_window  # noqa: PLC0415

    known = Evidence(files, facts or {}, [*([release] if release else ()), *releases])
    window = find_window(known, windows)
    layout = _layout(known, window) if window else None
    return Machine(
        release=known.named,
        build_id=known.notes.get("BUILD-ID"),
        arch=known.arch,
        window=window,
        layout=layout,
        iomem=known.iomem,
        config=known.config,
        sources=tuple(files.texts),
        problems=tuple(known.problems),
        agree=known.agree,
        search=by_files(known.notes, known.config).completed(known.release),
    )


def _address(text: str) -> int:
    value = int(text, 16)
    if not 0 <= value < 1 << 64:
        raise ValueError("an address has 64 bits")
    return value


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{str(value)[:40]!r} is no text")


def _layout(known: "Evidence", window: Window) -> Layout:
    names = ("MODULES_VADDR", "MODULES_END", "VMALLOC_START", "VMALLOC_END")
    found = ((name, known.note(f"NUMBER({name})")) for name in names)
    exact = {name: known.facts[name][0][1] for name in names if known.facts.get(name)}
    exact |= {name: value for name, value in found if value is not None}
    kasan = {"CONFIG_KASAN_GENERIC": 3, "CONFIG_KASAN_SW_TAGS": 4}
    shift = next((s for name, s in kasan.items() if known.config.get(name) == "y"), None)
    expected = marks(window, kasan_shift=shift)
    for name in exact.keys() & expected.keys():
        if exact[name] != expected[name]:
            known.problems.append(
                f"vmcoreinfo says {name} is 0x{exact[name]:016x}, the formula gives"
                f" 0x{expected[name]:016x}"
            )
    if window.page_size is not None and window.va_bits is not None:
        seen = known.dump.marks(window.page_size, window.va_bits)
        _compare_marks(known, window, seen, expected | exact)
        for mark in seen:
            if mark.exact(window.page_size):
                exact.setdefault(mark.name, mark.addr)
    return layout_for(window, exact=exact, kasan_shift=shift)


def _compare_marks(
    known: "Evidence", window: Window, seen: "list[Mark]", expected: dict[str, int]
) -> None:
    borders: dict[str, tuple[int, ...]] = {name: (addr,) for name, addr in expected.items()}
    # since f9cca2444187 (6.9) the marker is the start of the part in use
    borders |= {"VMEMMAP_START": window.blind, "VMEMMAP_END": (window.end,)}
    for mark in seen:
        possible = borders.get(mark.name)
        if not possible or any(mark.agrees(border) for border in possible):
            continue
        line = (
            f"kernel_page_tables shows {mark.name} at 0x{mark.addr:016x},"
            f" 0x{possible[0]:016x} was expected"
        )
        if mark.name.startswith("VMEMMAP_"):
            known.contradiction(f"{line}: two kernels?")
        else:
            known.problems.append(line)
