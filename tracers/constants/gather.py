# SPDX-License-Identifier: GPL-2.0-only
"""All the ways to a kernel's constants side by side: what each says, and whether they agree.

Promises: a method that cannot say is in ``missing`` with the reason; methods that contradict each
other make ``agree`` False and a line in ``problems``, and ``methods`` keeps every result.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from tracers import machine_files
from tracers.constants import arithmetic, config
from tracers.constants.btf import Btf
from tracers.constants.core_file import Core
from tracers.constants.dataflow import window_in_code
from tracers.constants.dataflow.region_in_code import FUNCTION, read_search
from tracers.constants.errors import ConstantsError
from tracers.constants.image.kernel_image import KernelImage
from tracers.constants.image.warn_sites import PATH, WarnSite, probeable, warn_sites
from tracers.constants.inputs import VARIABLES, Inputs, addresses, read_symbols
from tracers.constants.method_result import MethodResult
from tracers.constants.running import RunningFiles
from tracers.evidence import Told
from tracers.kernel_functions import CHECKED
from tracers.machine import Machine, assemble
from tracers.region_search import FUNCTIONS as SEARCH_NAMES
from tracers.region_search import OUTSIDE, SEED, Search
from tracers.window import Window

#: The methods, most trusted first: the running kernel's own word, then what its WARN compares
#: with, then what it would write into a dump, then arithmetic.
METHODS: Final = (
    "vmcoreinfo",
    "code:vmemmap_free",
    "code:vmemmap_populate",
    "code:vmemmap_free:free_empty_tables",
    "code:vmcoreinfo",
    "btf+formula",
)
#: What we may put probes on, directly or at a call site.
PROBED: Final = (*PATH, "__warn", "report_bug")


@dataclass(frozen=True, slots=True)
class Constants:
    """What all methods together say of one kernel."""

    methods: Mapping[str, MethodResult]  # in the order of METHODS
    missing: Mapping[str, str]  # method -> why it gave nothing
    window: Window | None  # of the most trusted method; provenance "window" joins all that agree
    agree: bool  # False: at least two sources contradict each other
    problems: tuple[str, ...]
    release: str | None
    build_id: str | None
    warn_sites: tuple[WarnSite, ...] = ()
    probeable: Mapping[str, str] = field(default_factory=dict)  # function -> traceable or why not
    known: Machine = field(default_factory=Machine)

    def machine(self) -> Machine:
        """Return the machine for a recording's header: window, layout, every problem."""
        return self.known


def gather(
    image: KernelImage | None = None,
    *,
    config: Path | None = None,
    system_map: Path | None = None,
    kcore: Path | None = None,
    vmcoreinfo_text: str | None = None,
    live: bool = False,
    machine_dir: Path | None = None,
    release: str | None = None,
    facts: Mapping[str, Told] | None = None,
    releases: Sequence[tuple[str, str]] = (),
    root: Path = Path("/"),
    running: RunningFiles | None = None,
) -> Constants:
    """Ask every method that the given sources allow.

    ``image``: a kernel's file. ``config``: its configuration, plain or gzip. ``kcore``: a core
    file or the text of its VMCOREINFO note; ``system_map`` gives the names in its memory.
    ``live``: the running kernel, whose files lie under ``root``; ``running``: those files, where
    some of them were read before. ``machine_dir``: the side files
    beside a trace (``tracers.machine.read_machine``). ``release``: for sources that do not name
    theirs, such as a .BTF blob. ``facts`` and ``releases``: what others say (``machine.assemble``).
    What is given comes before what is found.

    Raises:
        ConstantsError: a file that was given cannot be read, or the running kernel is not arm64.
        MachineError: ``machine_dir`` cannot be read.
    """
    inputs = Inputs()
    inputs.releases += releases
    for name, told in (facts or {}).items():
        inputs.facts += ((name, origin, value) for origin, value in told)
    if release is not None:
        inputs.add("uname", release, "release given")
    if vmcoreinfo_text is not None:
        inputs.add("kcore-vmcoreinfo", vmcoreinfo_text, "vmcoreinfo")
    if config is not None:
        inputs.add_config(config)
    if kcore is not None:
        with Core(kcore) as core:
            named = addresses(read_symbols(system_map), VARIABLES) if system_map else None
            inputs.add_core(core, named, relocate=True)
    if machine_dir is not None:
        inputs.add_folder(machine_dir)
    if not live:
        return _Gathering(image, inputs).constants()
    files = running or RunningFiles(root)
    inputs.add_running(files)
    if image is not None:
        return _Gathering(image, inputs).constants()
    try:
        memory = files.memory()
    except ConstantsError as error:
        inputs.missing["image"] = inputs.missing.get("vmcoreinfo", str(error))
        return _Gathering(None, inputs).constants()
    try:
        with memory:
            return _Gathering(memory, inputs).constants()
    finally:
        files.close()


class _Gathering:
    """One comparison of all sources."""

    def __init__(self, image: KernelImage | None, inputs: Inputs) -> None:
        self.image = image
        self.inputs = inputs
        self.texts = inputs.files.texts
        self.problems = inputs.files.problems
        self.methods: dict[str, MethodResult] = {}
        self.missing: dict[str, str] = {}
        self.halves: dict[str, MethodResult] = {}  # one end only: no method of its own
        self.facts: dict[str, list[tuple[str, int]]] = {}
        self.contradictions: list[str] = []  # those that the machine cannot see

    def constants(self) -> Constants:
        """Ask all, then judge."""
        if self.image is not None:
            self._look_into(self.image)
        notes = machine_files.read_notes(self.texts.get("kcore-vmcoreinfo", ""), [])
        uname = machine_files.read_uname(self.texts.get("uname", ""))[0]
        release = notes.get("OSRELEASE", uname)
        self._btf()
        self._note(notes)
        self._code()
        for name, origin, value in self.inputs.facts:
            self._fact(name, origin, value)
        self._formula(release or (self.image.release if self.image else None))
        if self.image is not None:
            self._same_kernel(self.image, release, notes.get("BUILD-ID", self.inputs.build_id))
            if release is None and self.image.release is not None:
                self.texts["uname"] = self.image.release
        return self._judged(*self._sites())

    def _judged(self, sites: tuple[WarnSite, ...], traceable: Mapping[str, str]) -> Constants:
        known = ((name, self.methods.get(name)) for name in METHODS if name != "vmcoreinfo")
        windows = [(name, *found.window) for name, found in known if found and found.window]
        if windows:
            bits = arithmetic.solve_va_bits(windows[0][1:], dict(self._chosen()))
            if bits is not None:
                self._fact("va_bits", "the only number whose formula gives this window", bits)
        machine = assemble(
            self.inputs.files, facts=self.facts, windows=windows, releases=self.inputs.releases
        )
        if machine.window is not None:
            self._check_halves(machine.window)
        built = machine.build_id or self.inputs.build_id
        problems = (*self.contradictions, *machine.problems)
        names = [self.image.path.name] if self.image else []
        machine = replace(
            machine,
            arch=machine.arch or ("aarch64" if self.image else None),
            build_id=built or (self.image.build_id if self.image else None),
            sources=tuple(dict.fromkeys((*names, *self.inputs.names))),
            problems=problems,
            agree=machine.agree and not self.contradictions,
            search=self._search(machine.search),
        )
        return Constants(
            methods={name: self.methods[name] for name in METHODS if name in self.methods},
            missing=self.missing,
            window=machine.window,
            agree=machine.agree,
            problems=problems,
            release=machine.release,
            build_id=machine.build_id,
            warn_sites=sites,
            probeable=traceable,
            known=machine,
        )

    def _fact(self, name: str, origin: str, value: int) -> None:
        self.facts.setdefault(name, []).append((origin, value))

    def _look_into(self, image: KernelImage) -> None:
        """Take the files that the image itself holds."""
        if self.inputs.btf is None:
            self.inputs.btf = image.btf()
        elif (own := image.btf()) is not None and own != self.inputs.btf:
            self.problems.append("BTF: the running kernel's is used, the image's differs")
        try:
            built_in = config.image_config(image)
        except ConstantsError as error:
            self.problems.append(str(error))
        else:
            if built_in is not None:
                self.inputs.add("config", built_in, "IKCONFIG")
        page_size = config.header_page_size(image)
        if page_size is not None:
            self._fact("page_size", "image header", page_size)
        for note in image.notes():  # of a vmcore
            if note.name == "VMCOREINFO":
                text = note.desc.decode("utf-8", "backslashreplace")
                self.inputs.add("kcore-vmcoreinfo", text, image.path.name)

    def _note(self, notes: Mapping[str, str]) -> None:
        ends = [notes.get(f"NUMBER(VMEMMAP_{side})") for side in ("START", "END")]
        start, end = (None if text is None else machine_files.number(text) for text in ends)
        if start is not None and end is not None:
            origin = "its VMCOREINFO note: NUMBER(VMEMMAP_START), NUMBER(VMEMMAP_END)"
            self.methods["vmcoreinfo"] = MethodResult(start, end, "vmcoreinfo", origin)
        elif notes:
            self.missing["vmcoreinfo"] = "the note does not give it: kernels before 5.18"
        else:
            none = "no running kernel, core file or text of the note was given"
            self.missing["vmcoreinfo"] = self.inputs.missing.get("vmcoreinfo", none)

    def _code(self) -> None:
        image = self.image
        if image is None:
            reason = self.inputs.missing.get("image", "no vmlinux or Image was given")
            self.missing |= dict.fromkeys((n for n in METHODS if n.startswith("code:")), reason)
            return
        bodies = {name: image.function(name) for name in CHECKED}
        for name, body in bodies.items():
            absent = window_in_code.Reading(
                None, f"no {name} in the image, or no names (--system-map)"
            )
            self._answer(f"code:{name}", window_in_code.read_compare(body) if body else absent)
            if name == "vmemmap_free":
                called = window_in_code.read_call(body, image) if body else absent
                self._answer("code:vmemmap_free:free_empty_tables", called)
        self._answer("code:vmcoreinfo", window_in_code.read_vmcoreinfo(image))

    def _answer(self, method: str, reading: window_in_code.Reading) -> None:
        found = reading.result
        if found is None or found.window is None:
            self.missing[method] = reading.reason
            if found is not None:
                self.halves[method] = found
            return
        self.methods[method] = found
        values = {name: getattr(found, name) for name in arithmetic.FACTS} | dict(found.facts)
        if "SECTION_SIZE_BITS" in values:
            values["section_size_bits"] = values["SECTION_SIZE_BITS"]
        for name, value in values.items():
            if value is not None:
                self._fact(name, method, value)

    def _btf(self) -> None:
        blob, self.inputs.btf = self.inputs.btf, None  # megabytes: not kept
        if blob is None:
            return
        try:
            types = self.inputs.types() if self.inputs.types else Btf(blob)
            size = types.struct_size("page")
        except ConstantsError as error:
            self.problems.append(str(error))
            return
        if size is not None:
            self._fact("struct_page", "BTF", size)

    def _formula(self, release: str | None) -> None:
        others = {name: found.window for name, found in self.methods.items() if found.window}
        found, reason = arithmetic.by_formula(dict(self._chosen()), others, release)
        if found is None:
            self.missing["btf+formula"] = reason
        else:
            self.methods["btf+formula"] = found

    @cached_property
    def _options(self) -> Mapping[str, str]:
        return machine_files.read_config(self.texts.get("config", ""))

    def _chosen(self) -> Iterator[tuple[str, tuple[str, int]]]:
        """Yield each fact the formula needs from the source most independent of the others."""
        options = self._options
        notes = machine_files.read_notes(self.texts.get("kcore-vmcoreinfo", ""), [])
        configured = {
            "va_bits": machine_files.config_va_bits(options),
            "page_size": machine_files.config_page_size(options),
        }
        noted = {"va_bits": "NUMBER(VA_BITS)", "page_size": "PAGESIZE", "struct_page": "SIZE(page)"}
        for name in arithmetic.FACTS:
            if (value := configured.get(name)) is not None:
                yield name, ("config", value)
            elif known := self.facts.get(name):
                yield name, known[0]
            elif (value := machine_files.number(notes.get(noted[name], ""))) is not None:
                yield name, ("vmcoreinfo", value)

    def _same_kernel(self, image: KernelImage, release: str | None, build_id: str | None) -> None:
        pairs = (("release", image.release, release), ("build-id", image.build_id, build_id))
        for what, own, other in pairs:
            if own is not None and other is not None and own != other:
                self.contradictions.append(
                    f"{image.path.name} has {what} {own}, the machine {other}: two kernels?"
                )

    def _search(self, known: Search) -> Search:
        """Return how the kernel looks for free regions, by its own code and names first."""
        image = self.image
        if image is None:
            return known
        there = image.symbols((*SEARCH_NAMES, "memstart_addr"))
        body, memstart = image.function(FUNCTION), there.get("memstart_addr")
        if body is not None:
            found = read_search(body, memstart.va if memstart else None)
            known = known.told("code:get_free_mem_region", **found)
        if OUTSIDE in there:
            known = known.told("symbols", outside=True)
        if SEED in there and known.seeded is None:
            known = known.told("symbols", seeded=True)
        return known.completed(image.release)

    def _check_halves(self, window: Window) -> None:
        for name, found in self.halves.items():
            ends = ((found.start, window.start, "START"), (found.end, window.end, "END"))
            self.contradictions += [
                f"{name} says VMEMMAP_{side} is 0x{own:016x}, the window has 0x{other:016x}"
                for own, other, side in ends
                if own is not None and own != other
            ]

    def _sites(self) -> tuple[tuple[WarnSite, ...], Mapping[str, str]]:
        image = self.image
        if image is None:
            return (), {}
        try:
            sites, traceable = warn_sites(image), dict(probeable(image, PROBED))
        except ConstantsError as error:
            self.problems.append(str(error))
            return (), {}
        if self.inputs.traceable is not None:
            # the table that an image has is gone from memory after boot
            lines = set(self.inputs.traceable.split(b"\n"))
            there = image.symbols(PROBED)
            traceable |= dict.fromkeys(PROBED, "inlined or absent")
            for name, symbol in there.items():  # the symbol's own name may end in .isra.0
                listed = symbol.name.encode() in lines
                traceable[name] = "traceable" if listed else "notrace"
        return sites, traceable
