# SPDX-License-Identifier: GPL-2.0-only
"""Collects the files about one kernel that its constants are read from.

These are the files given on the command line, or those of the running kernel.

Promises: of two texts for the same thing the first is used, and a different second one is named in
``problems``; a file of the running kernel that cannot be read is left out with the reason, as long
as there is another way.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tracers import machine_files
from tracers.constants.config import config_file
from tracers.constants.core_file import Core, iter_notes
from tracers.constants.errors import ConstantsError
from tracers.constants.running import KCORE, RunningFiles
from tracers.constants.task_size import task_bits
from tracers.evidence import TASK_BITS
from tracers.machine import side_files
from tracers.regular_files import read_regular

if TYPE_CHECKING:
    from tracers.constants.btf import Btf

_SYMBOLS_CAP: Final = 64 << 20  # /proc/kallsyms with many modules has 20 MB
_SMALL_CAP: Final = 4 << 20
_TRACEABLE: Final = "sys/kernel/tracing/available_filter_functions"
#: Variables the kernel computes with; they have symbols as they are exported or used by modules.
_VARIABLES: Final = ("memstart_addr", "vabits_actual")
#: What ``Inputs.add_core`` wants the addresses of.
VARIABLES: Final = (*_VARIABLES, "_stext")


class Inputs:
    """What was collected: side files by the names of ``machine_files.CAPS``, and further facts."""

    def __init__(self) -> None:
        self.files = machine_files.SideFiles()
        self.names: list[str] = []  # of the sources, for the reader of a report
        self.facts: list[tuple[str, str, int]] = []  # fact of Window, origin, value
        self.releases: list[tuple[str, str]] = []  # origin, release: of what is no file
        self.missing: dict[str, str] = {}  # side file -> why it could not be read
        self.btf: bytes | None = None
        #: The types in ``btf``, where they may have been read before.
        self.types: Callable[[], Btf] | None = None
        self.build_id: str | None = None
        #: The running kernel's own list of what ftrace, and so a kprobe event, can attach to.
        self.traceable: bytes | None = None
        self._origins: dict[str, str] = {}

    def add(self, name: str, text: str, origin: str) -> None:
        """Add the text of a side file; the first of its name is used."""
        if name in self.files.texts:
            if self.files.texts[name] != text:
                used = self._origins[name]
                self.files.problems.append(f"{name}: {used} is used, {origin} differs and is not")
            return
        self.files.texts[name] = text
        self._origins[name] = origin
        self.names.append(origin)

    def add_config(self, path: Path) -> None:
        """Add a configuration file.

        Raises:
            ConstantsError: it cannot be read or is not of an arm64 kernel.
        """
        self.add("config", config_file(path), path.name)

    def add_folder(self, folder: Path) -> None:
        """Add the side files in ``folder``.

        Raises:
            MachineError: no such directory, or no side file in it.
        """
        files = side_files(folder)
        self.files.problems += files.problems
        for name, text in files.texts.items():
            self.add(name, text, name)

    def add_core(self, core: Core, at: Mapping[str, int] | None, *, relocate: bool) -> None:
        """Add a core's note and, ``at`` the addresses of ``VARIABLES``, those in its memory.

        ``relocate``: the addresses are link-time ones (System.map): add the KASLR offset.
        """
        found = core.vmcoreinfo_at
        where = "" if found is None else f" (its note found in memory at physical 0x{found:x})"
        self.add("kcore-vmcoreinfo", core.vmcoreinfo, core.path.name + where)
        if at is None or not core.is_memory:
            return
        notes = machine_files.read_notes(core.vmcoreinfo, [])
        offset = (
            (machine_files.number("0x" + notes.get("KERNELOFFSET", "")) or 0) if relocate else 0
        )
        stext = machine_files.number("0x" + notes.get("SYMBOL(_stext)", ""))
        if relocate and stext is not None and at.get("_stext", stext - offset) + offset != stext:
            self.files.problems.append("System.map: of another kernel than the core file: not used")
            return
        for name, fact in zip(_VARIABLES, ("memstart", "vabits_actual"), strict=True):
            value = core.read_u64(at[name] + offset) if name in at else None
            if value is not None:
                self.facts.append((fact, f"memory of {core.path.name}", value))

    def add_running(self, files: RunningFiles) -> None:
        """Add what the running kernel shows of itself in its files.

        Raises:
            ConstantsError: it is not arm64.
        """
        running = os.uname().machine
        if running not in ("aarch64", "armv8l"):  # the latter: a 32-bit process on arm64
            raise ConstantsError(
                f"this machine runs {running}, and the vmemmap window is arm64's: give the vmlinux"
                " or Image of an arm64 kernel, or a core file"
            )
        root = files.root
        data = _read(root / "proc/sys/kernel/osrelease", 4096) or b""
        release = data.decode("utf-8", "backslashreplace").strip()
        if release:
            self.add("uname", release, "uname")
        iomem = _read(root / "proc/iomem", _SMALL_CAP)
        if iomem and re.search(rb"-0*[1-9a-f]", iomem):  # zeros to all but root
            self.add("iomem", iomem.decode("utf-8", "backslashreplace"), "/proc/iomem")
        self._add_running_config(root, release)
        if root == Path("/") and (bits := task_bits()) is not None:
            self.facts.append((TASK_BITS, "mmap", bits))
        with suppress(OSError):
            self.btf, self.types = files.btf, lambda: files.types
        self.traceable = _read(root / _TRACEABLE, _SYMBOLS_CAP) or None
        for name, content in iter_notes(_read(root / "sys/kernel/notes", _SMALL_CAP) or b""):
            if name == b"GNU" and len(content) == 20:
                self.build_id = content.hex()
        try:
            with Core(root / KCORE) as core:
                self.add_core(core, _at(files), relocate=False)
        except ConstantsError as error:
            self.missing["vmcoreinfo"] = str(error)

    def _add_running_config(self, root: Path, release: str) -> None:
        candidates = ["proc/config.gz"]
        if release and "/" not in release:
            candidates += [f"boot/config-{release}", f"lib/modules/{release}/config"]
        for candidate in candidates:
            path = root / candidate
            if os.access(path, os.F_OK):  # Path.exists raises where /boot may not be looked into
                try:
                    self.add("config", config_file(path), "/" + candidate)
                except ConstantsError as error:
                    self.files.problems.append(str(error))
                else:
                    return
        self.missing["config"] = f"none of {', '.join('/' + candidate for candidate in candidates)}"


def addresses(symbols: bytes, names: Iterable[str]) -> dict[str, int]:
    """Return the addresses of ``names`` in the text of a System.map or kallsyms.

    Those of modules and those hidden from the reader (0) are left out.
    """
    wanted = b"|".join(re.escape(name.encode()) for name in names)
    lines = re.finditer(rb"^([0-9a-f]{16}) [a-zA-Z] (" + wanted + rb")$", symbols, re.MULTILINE)
    by_name: dict[str, int] = {}
    for line in lines:
        if value := int(line[1], 16):
            by_name.setdefault(line[2].decode(), value)
    return by_name


def _at(files: RunningFiles) -> dict[str, int] | None:
    try:
        return {name: symbol.va for name, symbol in files.names.find(VARIABLES).items()}
    except ConstantsError:
        return None


def read_symbols(path: Path) -> bytes:
    """Return the text of a System.map or kallsyms file.

    Raises:
        ConstantsError: it cannot be read.
    """
    data = _read(path, _SYMBOLS_CAP)
    if data is None:
        raise ConstantsError(f"{path}: cannot be read")
    return data


def _read(path: Path, cap: int) -> bytes | None:
    try:
        return read_regular(path, cap)
    except (OSError, ValueError):
        return None
