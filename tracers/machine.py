# SPDX-License-Identifier: GPL-2.0-only
"""The machine a trace is from: its kernel, window and address layout, read from side files.

Promises: the kernel's own constants come before any formula; every source that disagrees with
another is named in ``problems``; whatever the files hold, the only error is ``MachineError``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from tracers import machine_files
from tracers.errors import VmemscopeError
from tracers.families import PAGE_SIZES
from tracers.formulas import (
    VA_BITS_RANGE,
    WindowError,
    family_for_release,
    memstart_for,
    section_size_bits_for,
    signed,
    vmemmap_set_early,
)
from tracers.in_use import bits_in_use
from tracers.layout import Layout, layout_for, marks, named
from tracers.machine_files import Mark
from tracers.pfn_zero import built_for, sizes_possible, window_from_vmemmap, with_vmemmap
from tracers.window import Window, window_from_facts

# Facts beside those of ``Window``:
#: how many bits of addresses a program of that kernel can map
TASK_BITS: Final = "task_bits"
#: the address of pfn 0's struct page
VMEMMAP: Final = "vmemmap"
#: a physical address of RAM that the kernel uses, such as pgdp of an Oops
RAM: Final = "ram"
#: a pfn that the kernel has a struct page for, of a device too
PFN: Final = "pfn"
#: an address that the kernel said to lie "between user and kernel address ranges"
BETWEEN: Final = "between"
#: Provenance of sizeof(struct page) where nothing says it.
ASSUMED: Final = "assumed: 64 on nearly every kernel"


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
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise MachineError(f"not a machine: {error}") from error


def read_machine(folder: Path) -> Machine:
    """Read what the side files in ``folder`` say; every one of ``machine_files.CAPS`` is optional.

    Raises:
        MachineError: no such directory, or none of the files in it.
    """
    return assemble(side_files(folder))


def side_files(folder: Path) -> machine_files.SideFiles:
    """Return the text of the side files in ``folder``, at least one.

    Raises:
        MachineError: no such directory, or none of the files in it.
    """
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
    files: machine_files.SideFiles,
    *,
    facts: Mapping[str, Sequence[tuple[str, int]]] | None = None,
    windows: Sequence[tuple[str, int, int]] = (),
    release: tuple[str, str] | None = None,
) -> Machine:
    """Return the machine that all sources together describe.

    ``facts``: further (origin, value) pairs by fact: ``Window``'s integer fields, the borders
    vmcoreinfo may give ("VMALLOC_START"…), ``TASK_BITS``, ``VMEMMAP``, ``RAM``, ``PFN`` and
    ``BETWEEN``. ``windows``: further (origin, start, end), most trusted first. ``release``:
    (origin, release). What is in ``files`` comes before all of these, and need not be anything.
    What disagrees is in the machine's problems.
    """
    return _Reading(files, facts or {}, windows, release).machine()


def _address(text: str) -> int:
    value = int(text, 16)
    if not 0 <= value < 1 << 64:
        raise ValueError("an address has 64 bits")
    return value


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{str(value)[:40]!r} is no text")


class _Reading:
    """One reading of a machine's files: facts with their origin, and what contradicts what."""

    def __init__(
        self,
        files: machine_files.SideFiles,
        facts: Mapping[str, Sequence[tuple[str, int]]],
        windows: Sequence[tuple[str, int, int]],
        release: tuple[str, str] | None,
    ) -> None:
        texts = files.texts
        self.files = files
        self.facts = facts
        self.windows = windows
        self.told_release = release
        self.agree = True
        self.problems = files.problems
        self.notes = machine_files.read_notes(texts.get("kcore-vmcoreinfo", ""), self.problems)
        self.config = machine_files.read_config(texts.get("config", ""))
        self.iomem = machine_files.read_iomem(texts.get("iomem", ""), self.problems)
        self.provenance: dict[str, str] = {}

    def machine(self) -> Machine:
        """Assemble what the files say."""
        texts = self.files.texts
        for name, found in (("kcore-vmcoreinfo", self.notes), ("config", self.config)):
            if name in texts and not found:
                self.problems.append(f"{name}: nothing in it was understood")
        uname, arch = machine_files.read_uname(texts.get("uname", ""))
        release = self._release(uname)
        if arch not in (None, "aarch64", "aarch64_be"):
            self.problems.append(f"uname says {arch}: the window is known for arm64 only")
        window = self._window(release)
        return Machine(
            release=release,
            build_id=self.notes.get("BUILD-ID"),
            arch=arch,
            window=window,
            layout=self._layout(window) if window else None,
            iomem=self.iomem,
            config=self.config,
            sources=tuple(texts),
            problems=tuple(self.problems),
            agree=self.agree,
        )

    def _release(self, uname: str | None) -> str | None:
        """Return the release of the first source that has one, checked against the others."""
        release = self.notes.get("OSRELEASE", uname)
        if uname is not None and release is not None and uname != release:
            self._contradiction(f"uname says {uname}, vmcoreinfo says {release}: another boot?")
        if self.told_release is not None:
            origin, told = self.told_release
            if release is not None and told != release:
                self._contradiction(
                    f"{origin} is of kernel {told}, the machine's files are of {release}"
                )
            release = release or told
        return release

    def _note(self, key: str, prefix: str = "") -> int | None:
        """Return a number of vmcoreinfo; a problem line where it is none."""
        text = self.notes.get(key)
        if text is None:
            return None
        value = machine_files.number(prefix + text)
        if value is None:
            self.problems.append(f"kcore-vmcoreinfo: {key}={text} is not a number of 64 bits")
        return value

    def _contradiction(self, line: str) -> None:
        self.problems.append(line)
        self.agree = False

    def _agreed(
        self,
        name: str,
        noted: int | None,
        config: int | None,
        sane: range | tuple[int, ...],
        others: Sequence[tuple[str, int]] = (),
    ) -> int | None:
        """Return a fact of the first source that has it, checked and against the others."""
        found = (("vmcoreinfo", noted), ("config", config), *self.facts.get(name, ()), *others)
        known = [(origin, value) for origin, value in found if value is not None]
        good = [(origin, value) for origin, value in known if value in sane]
        self.problems += [
            f"{origin} says {name} is {value}, which no arm64 kernel has: not used"
            for origin, value in known
            if value not in sane
        ]
        if len({value for _, value in good}) > 1:
            said = ", ".join(
                f"{origin} says {value if value < 1 << 20 else hex(value)}"
                for origin, value in good
            )
            self._contradiction(f"{name}: {said}: files of two kernels? The first is used")
        if not good:
            return None
        self.provenance[name], value = good[0]
        return value

    def _window(self, release: str | None) -> Window | None:
        bits = self._agreed(
            "va_bits",
            self._note("NUMBER(VA_BITS)"),
            machine_files.config_va_bits(self.config),
            VA_BITS_RANGE,
        )
        page = self._agreed(
            "page_size",
            self._note("PAGESIZE"),
            machine_files.config_page_size(self.config),
            PAGE_SIZES,
        )
        struct_page = self._agreed("struct_page", self._note("SIZE(page)"), None, range(8, 1025))
        noted = self._note("NUMBER(SECTION_SIZE_BITS)")
        section = self._agreed("section_size_bits", noted, None, range(17, 48))
        t1sz = self._note("NUMBER(TCR_EL1_T1SZ)")
        actual = None if t1sz is None else 64 - t1sz
        if actual is not None and actual not in VA_BITS_RANGE:
            self.problems.append(f"vmcoreinfo: TCR_EL1_T1SZ {t1sz} gives impossible {actual} bits")
            actual = None
        sane, others = VA_BITS_RANGE, self.facts.get(TASK_BITS, ())
        if bits is None or bits <= 48:
            others = ()  # nothing to find out; 5.0 to 5.3 gave programs more bits than the kernel
        else:
            sane = range(47, bits + 1)
        actual = self._agreed("vabits_actual", actual, None, sane, others)
        if section is None and page is not None and release is not None:
            try:
                section = section_size_bits_for(release, page)
                self.provenance["section_size_bits"] = "release"
            except WindowError as error:
                self.problems.append(f"section size: {error}")
        facts = {
            "va_bits": bits,
            "page_size": page,
            "struct_page": struct_page,
            "memstart": self._memstart(bits, actual, page, section),
            "section_size_bits": section,
            "vabits_actual": actual,
        }
        return self._built(release, facts)

    def _built(self, release: str | None, facts: dict[str, int | None]) -> Window | None:
        window = self._given(facts)
        try:
            if window is None:
                window = self._by_vmemmap(release, facts) or self._by_release(release, facts)
        except WindowError as error:
            self.problems.append(str(error))
            return None
        sizes = (window.va_bits, window.page_size, window.struct_page)
        if window.family is None and None not in sizes:
            self.problems.append(
                f"no known formula gives this kernel's window for {sizes[0]}-bit addresses, pages"
                f" of {sizes[1]} and struct pages of {sizes[2]} bytes: its neighbours are unknown"
            )
        window = self._placed(self._in_use(window), release)
        self._check_vmemmap(window, release)
        return window

    def _given(self, facts: dict[str, int | None]) -> Window | None:
        """Return the window of the first source that gives it, checked against the others."""
        start, end = (self._note(f"NUMBER(VMEMMAP_{side})") for side in ("START", "END"))
        windows = list(self.windows)
        if start is not None and end is not None:
            windows.insert(0, ("vmcoreinfo", start, end))
        good: dict[str, Window] = {}
        for origin, first, last in windows:
            try:
                good[origin] = window_from_facts(facts, start=first, end=last)
            except WindowError as error:
                self.problems.append(f"{origin}: {error}")
        window = next(iter(good.values()), None)
        if window is None:
            return None
        if len({(w.start, w.end) for w in good.values()}) > 1:
            said = ", ".join(f"{n} says 0x{w.start:016x} - 0x{w.end:016x}" for n, w in good.items())
            self._contradiction(f"the window: {said}: two kernels? The first is used")
        same = (name for name, w in good.items() if (w.start, w.end) == (window.start, window.end))
        return replace(window, provenance=self.provenance | {"window": " + ".join(same)})

    def _by_release(self, release: str | None, facts: dict[str, int | None]) -> Window:
        """Return the window by the formula of the release."""
        page, actual = facts["page_size"], facts["vabits_actual"]
        if page is None or release is None or (facts["va_bits"] is None and actual is None):
            return window_from_facts(facts, release=release)  # says what is missing
        self._assume(facts)
        if facts["va_bits"] is None:
            numbers = built_for(family_for_release(release), page, actual or 0)
            windows = [
                window_from_facts(facts | {"va_bits": number}, release=release)
                for number in numbers
            ]
            if len({window.used for window in windows}) == 1:
                facts["va_bits"] = self._build(numbers, actual or 0)
        return window_from_facts(facts, release=release, provenance=self.provenance)

    def _by_vmemmap(self, release: str | None, facts: dict[str, int | None]) -> Window | None:
        """Return the window that puts pfn 0's struct page where a log shows it."""
        told = self.facts.get(VMEMMAP, ())
        if not told:
            return None
        self._assume(facts)
        origin, vmemmap = told[0]
        bits, page, actual = (facts[name] for name in ("va_bits", "page_size", "vabits_actual"))
        in_use = actual if bits is None or bits > 48 else bits
        answer = window_from_vmemmap(
            vmemmap,
            sizes=sizes_possible(
                PAGE_SIZES if page is None else (page,),
                None if in_use is None else (in_use,),
                self._told(BETWEEN),
            ),
            release=release,
            va_bits=bits,
            struct_page=facts["struct_page"] or 0,
            ram=self._ram(),
            pfns=self._told(PFN),
        )
        window = answer.window
        if window is None:
            raise WindowError(f"the window is not known: {origin}: {answer.reason}")
        if bits is None:
            self._build(answer.built_for, window.vabits_actual or 0)
        for name in ("page_size", "vabits_actual", "memstart", "section_size_bits"):
            if facts[name] is None:
                self.provenance[name] = f"{origin}: vmemmap"
        if answer.backport:
            self.problems.append(
                f"{origin}: vmemmap 0x{vmemmap:016x} is impossible with the layout of {release}"
                f" ({answer.reason}); that of {window.family.label if window.family else ''} fits"
            )
            self.provenance["window"] = f"{origin}: vmemmap+formula"
        else:
            self.provenance["window"] = f"release+formula, fits vmemmap of {origin}"
        return replace(window, provenance=self.provenance)

    def _build(self, numbers: tuple[int, ...], actual: int) -> int:
        """Return what the kernel is built for, from the bits in use; say so if it may be more."""
        self.provenance["va_bits"] = f"{actual} bits in use"
        if len(numbers) > 1:
            self.provenance["va_bits"] += f": built for {' or '.join(map(str, numbers))}"
            self.problems.append(
                f"{actual} bits in use: whether the kernel is built for {numbers[0]} or"
                f" {numbers[-1]} is not known; the window in use is the same, but the WARN of one"
                f" built for {numbers[-1]} does not see what lies right below it"
            )
        return numbers[0]

    def _assume(self, facts: dict[str, int | None]) -> None:
        """Take the struct page that nearly every kernel has, where nothing says its size."""
        if facts["struct_page"] is None:
            facts["struct_page"] = 64
            self.provenance["struct_page"] = ASSUMED

    def _told(self, name: str) -> tuple[int, ...]:
        return tuple(value for _, value in self.facts.get(name, ()))

    def _ram(self) -> tuple[int, ...]:
        """Return physical addresses that are RAM's."""
        rows = (row for row in self.iomem if row[2] == "System RAM")
        return (*self._told(RAM), *(at for first, last, _ in rows for at in (first, last)))

    def _placed(self, window: Window, release: str | None) -> Window:
        """Return the window with memstart_addr as a log shows it: that of the log's own boot."""
        told = self.facts.get(VMEMMAP, ())
        if not told or window.family is None or None in (window.va_bits, window.struct_page):
            return window
        origin, vmemmap = told[0]
        try:
            if vmemmap == window.vmemmap:
                return window
            known = True
        except WindowError:
            known = False
        # the files' RAM, and no more of them: they may be of another boot, where KASLR differs
        answer = with_vmemmap(
            window, vmemmap, release=release, ram=self._ram(), pfns=self._told(PFN)
        )
        if answer.window is None or (known and self.config.get("CONFIG_RANDOMIZE_BASE") == "n"):
            self._contradiction(f"{origin}: {answer.reason or 'not this vmemmap'}: another kernel?")
            return window
        if known:
            self.problems.append(
                f"{origin} has vmemmap 0x{vmemmap:016x}, the machine's files"
                f" 0x{window.vmemmap:016x}: they are of another boot, where KASLR put"
                " memstart_addr elsewhere; the former is used"
            )
        provenance = {**window.provenance, "memstart": f"{origin}: vmemmap"}
        return replace(answer.window, provenance=provenance)

    def _in_use(self, window: Window) -> Window:
        """Return the window with the bits in use, where something else than T1SZ tells them."""
        sizes = (window.va_bits, window.page_size, window.struct_page)
        if window.use_known or None in sizes:
            return window
        borders = {n: replace(window, vabits_actual=n).used[0] for n in window.bits_possible}
        ram = min((first for first, _, name in self.iomem if name == "System RAM"), default=None)
        noted = self._note("NUMBER(VMALLOC_END)")
        found = [
            *bits_in_use(
                borders,
                family=window.family,
                memstart=window.memstart,
                ram=ram,
                vmalloc_end=noted,
            ),
            *self._by_marker(window, borders),
        ]
        if len({bits for _, bits in found}) > 1:
            said = ", ".join(f"{origin} says {bits}" for origin, bits in found)
            self._contradiction(f"vabits_actual: {said}: files of two kernels?")
        if len({bits for _, bits in found}) != 1:
            return window
        origin, bits = found[0]
        provenance = {**window.provenance, "vabits_actual": origin}
        return replace(window, vabits_actual=bits, provenance=provenance)

    def _by_marker(self, window: Window, borders: Mapping[int, int]) -> list[tuple[str, int]]:
        """Return the bits in use by the page tables: the marker is where these start (6.9 on)."""
        if not window.vmalloc_takes_unused:
            return []
        starts = (mark for mark in self._marks(window) if mark.name == "VMEMMAP_START")
        fitting = [
            [n for n, border in borders.items() if mark.agrees(border)]
            for mark in starts
            if mark.low is not None
        ]
        return [("kernel_page_tables", bits[0]) for bits in fitting if len(bits) == 1]

    def _marks(self, window: Window) -> list[Mark]:
        """Return the markers of kernel_page_tables."""
        text = self.files.texts.get("kernel_page_tables", "")
        if not text or window.page_size is None or window.va_bits is None:
            return []
        levels = (window.va_bits - 4) // (window.page_shift - 3)
        return machine_files.read_page_tables(text, window.page_size, levels)

    def _memstart(
        self, bits: int | None, actual: int | None, page: int | None, section: int | None
    ) -> int | None:
        noted = self._note("NUMBER(PHYS_OFFSET)")
        memstart = self._agreed("memstart", noted, None, range(1 << 64))
        if memstart is not None:
            return memstart
        ram = min((first for first, _, name in self.iomem if name == "System RAM"), default=None)
        fixed = self.config.get("CONFIG_RANDOMIZE_BASE") == "n"  # else KASLR may have moved it
        if ram is None or page is None or section is None or not fixed or bits not in range(49):
            return None
        self.provenance["memstart"] = "iomem+formula"
        return memstart_for(ram, page_size=page, section_size_bits=section)

    def _check_vmemmap(self, window: Window, release: str | None) -> None:
        """Compare with the kernel's own pfn 0 (in vmcoreinfo since 6.9), where it is given."""
        own = self._note("SYMBOL(vmemmap)", "0x")
        try:
            ours = window.vmemmap
        except WindowError:
            return
        if own is not None and own != ours:
            self.problems.append(
                f"vmcoreinfo says vmemmap is 0x{own:016x}, the arithmetic gives 0x{ours:016x}"
            )
        if not (own is None and window.may_move_vmemmap and signed(window.memstart or 0) < 0):
            return
        if release is None or vmemmap_set_early(release):
            self.problems.append(
                "5.4 to 5.9 set vmemmap before KASLR moved memstart_addr (7bc1a0f9e176): on those"
                " the pfns shown are off"
            )

    def _layout(self, window: Window) -> Layout:
        names = ("MODULES_VADDR", "MODULES_END", "VMALLOC_START", "VMALLOC_END")
        found = ((name, self._note(f"NUMBER({name})")) for name in names)
        exact = {name: self.facts[name][0][1] for name in names if self.facts.get(name)}
        exact |= {name: value for name, value in found if value is not None}
        kasan = {"CONFIG_KASAN_GENERIC": 3, "CONFIG_KASAN_SW_TAGS": 4}
        shift = next((s for name, s in kasan.items() if self.config.get(name) == "y"), None)
        expected = marks(window, kasan_shift=shift)
        for name in exact.keys() & expected.keys():
            if exact[name] != expected[name]:
                self.problems.append(
                    f"vmcoreinfo says {name} is 0x{exact[name]:016x}, the formula gives"
                    f" 0x{expected[name]:016x}"
                )
        if window.page_size is not None and (seen := self._marks(window)):
            self._compare_marks(window, seen, expected | exact)
            for mark in seen:
                if mark.exact(window.page_size):
                    exact.setdefault(mark.name, mark.addr)
        return layout_for(window, exact=exact, kasan_shift=shift)

    def _compare_marks(self, window: Window, seen: list[Mark], expected: dict[str, int]) -> None:
        known: dict[str, tuple[int, ...]] = {name: (addr,) for name, addr in expected.items()}
        # since f9cca2444187 (6.9) the marker is the start of the part in use
        known |= {"VMEMMAP_START": window.blind, "VMEMMAP_END": (window.end,)}
        for mark in seen:
            borders = known.get(mark.name)
            if borders and not any(mark.agrees(border) for border in borders):
                self.problems.append(
                    f"kernel_page_tables shows {mark.name} at 0x{mark.addr:016x},"
                    f" 0x{borders[0]:016x} was expected"
                )
