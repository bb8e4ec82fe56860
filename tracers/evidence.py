# SPDX-License-Identifier: GPL-2.0-only
"""What is known of a machine, by whom it is said, and what contradicts what.

Promises: a fact is that of the first source that has it, and its provenance says which; whatever
another source says differently is in ``problems``, and makes ``agree`` False if no kernel can be
both.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Final

from tracers import machine_files
from tracers.families import PAGE_SIZES
from tracers.formulas import VA_BITS_RANGE
from tracers.page_tables import Dump, read_dump

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
#: where RAM begins, with which memstart_addr is computed as without KASLR
RAM_START: Final = "ram_start"

#: Origin of what somebody says by hand. A release such as "6.1" then stands for all of its kind.
GIVEN: Final = "given"

#: The numbers that arm64 kernels can have for a fact of ``Window``.
SANE: Final[Mapping[str, Collection[int]]] = {
    "va_bits": VA_BITS_RANGE,
    "page_size": PAGE_SIZES,
    "struct_page": range(8, 1025),
    "section_size_bits": range(17, 48),
    "vabits_actual": VA_BITS_RANGE,
    "memstart": range(1 << 64),
}

Told = Sequence[tuple[str, int]]  # origin, value


class Evidence:
    """The sources of one machine: its side files, and facts from elsewhere."""

    def __init__(
        self,
        files: machine_files.SideFiles,
        facts: Mapping[str, Told],
        releases: Sequence[tuple[str, str]],  # origin, release
    ) -> None:
        self.files = files
        self.facts = facts
        self.agree = True
        self.problems = [*files.problems]
        self.provenance: dict[str, str] = {}
        texts = files.texts
        self.notes = machine_files.read_notes(texts.get("kcore-vmcoreinfo", ""), self.problems)
        self.config = machine_files.read_config(texts.get("config", ""))
        for name, found in (("kcore-vmcoreinfo", self.notes), ("config", self.config)):
            if name in texts and not found:
                self.problems.append(f"{name}: nothing in it was understood")
        uname, self.arch = machine_files.read_uname(texts.get("uname", ""))
        self.named = self._named(uname, releases)
        #: The version at least: a configuration has no more than that of the kernel's name.
        self.release = self.named or machine_files.config_release(texts.get("config", ""))
        if self.arch not in (None, "aarch64", "aarch64_be"):
            self.problems.append(f"uname says {self.arch}: the window is known for arm64 only")
        self.iomem = machine_files.read_iomem(texts.get("iomem", ""), self.problems)

    @cached_property
    def dump(self) -> Dump:
        """The page tables."""
        return read_dump(self.files.texts.get("kernel_page_tables", ""))

    @property
    def ram_start(self) -> int | None:
        """Where RAM begins, by iomem."""
        return min((first for first, _, name in self.iomem if name == "System RAM"), default=None)

    @property
    def ram(self) -> tuple[int, ...]:
        """Physical addresses that are RAM's."""
        rows = (row for row in self.iomem if row[2] == "System RAM")
        return (*self.told(RAM), *(at for first, last, _ in rows for at in (first, last)))

    def told(self, name: str) -> tuple[int, ...]:
        """Return the values of a fact that others than the files give."""
        return tuple(value for _, value in self.facts.get(name, ()))

    def contradiction(self, line: str) -> None:
        """Note that two sources cannot be of one kernel."""
        self.problems.append(line)
        self.agree = False

    def note(self, key: str, prefix: str = "") -> int | None:
        """Return a number of vmcoreinfo; a problem line where it is none."""
        text = self.notes.get(key)
        if text is None:
            return None
        value = machine_files.number(prefix + text)
        if value is None:
            line = f"kcore-vmcoreinfo: {key}={text} is not a number of 64 bits"
            if line not in self.problems:
                self.problems.append(line)
        return value

    def agreed(
        self,
        name: str,
        noted: int | None,
        config: int | None = None,
        sane: Collection[int] | None = None,
        others: Told = (),
    ) -> int | None:
        """Return a fact of the first source that has it, checked and against the others.

        ``sane``: the numbers that it can have, if not those of ``SANE``.
        """
        sane = SANE[name] if sane is None else sane
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
            self.contradiction(f"{name}: {said}: files of two kernels? The first is used")
        if not good:
            return None
        self.provenance[name], value = good[0]
        return value

    def _named(self, uname: str | None, others: Sequence[tuple[str, str]]) -> str | None:
        """Return the release of the first source that has one, checked against the others."""
        release = self.notes.get("OSRELEASE", uname)
        if uname is not None and release is not None and uname != release:
            self.contradiction(f"uname says {uname}, vmcoreinfo says {release}: another boot?")
        first = "the machine's files are"
        # what somebody says by hand may be less than a release's name
        for origin, told in sorted(others, key=lambda other: other[0] == GIVEN):
            if release is None:
                release, first = told, f"{origin} is"
            elif told != release and not (origin == GIVEN and _begins(release, told)):
                self.contradiction(f"{origin} is of kernel {told}, {first} of {release}")
        configured = machine_files.config_release(self.files.texts.get("config", ""))
        # beyond its first two numbers: many distributions call every one of them .0
        if configured and release and release.split(".")[:2] != configured.split(".")[:2]:
            self.contradiction(f"config is of {configured}, the kernel is {release}: two kernels?")
        return release


def _begins(release: str, version: str) -> bool:
    """Say whether ``version``, such as 6.1, is what ``release`` begins with."""
    return release.startswith(version) and not release[len(version) : len(version) + 1].isdigit()
