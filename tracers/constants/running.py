# SPDX-License-Identifier: GPL-2.0-only
"""The files in which the running kernel shows itself, each read once however many ask for it.

Promises: nothing is read before it is asked for, or twice; the kernel's text is as it was before
anybody's probes patched it, as far as that can be known (``image.patched``).
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Final

from tracers.constants.btf import Btf
from tracers.constants.errors import ConstantsError
from tracers.constants.image.elf import parse_notes
from tracers.constants.image.kernel_image import KernelImage, open_kernel
from tracers.constants.image.patched import Originals
from tracers.constants.image.symbols import SymbolTable, read_map

#: The file through which the kernel shows its own memory.
KCORE: Final = "proc/kcore"
#: Where distributions keep the running kernel's own file, by release.
_OWN_FILES: Final = (
    "boot/vmlinuz-{}",
    "lib/modules/{}/vmlinuz",
    "boot/vmlinux-{}",
    "usr/lib/debug/boot/vmlinux-{}",
    "usr/lib/debug/lib/modules/{}/vmlinux",
    "lib/modules/{}/build/vmlinux",
)
_BTF_CAP: Final = 256 << 20
_NOTES_CAP: Final = 1 << 20
_BUILD_ID: Final = ("GNU", 3)  # NT_GNU_BUILD_ID


class RunningFiles:
    """The running kernel's files under ``root``."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self._own: KernelImage | None = None

    def close(self) -> None:
        """Close the file that was opened to know the text before it was patched."""
        if self._own is not None:
            self._own.close()

    @cached_property
    def names(self) -> SymbolTable:
        """The symbols of /proc/kallsyms. Raises ``ConstantsError`` where they are hidden."""
        return read_map(self.root / "proc/kallsyms")

    @cached_property
    def btf(self) -> bytes:
        """The kernel's BTF. Raises ``OSError``."""
        with (self.root / "sys/kernel/btf/vmlinux").open("rb") as file:
            return file.read(_BTF_CAP)

    @cached_property
    def types(self) -> Btf:
        """The types of that. Raises ``OSError`` and ``ConstantsError``."""
        return Btf(self.btf)

    @cached_property
    def build_ids(self) -> frozenset[str]:
        """The running kernel's build id, in lower-case hex; empty where it does not show one."""
        try:
            with (self.root / "sys/kernel/notes").open("rb") as file:
                notes = file.read(_NOTES_CAP)
        except OSError:
            return frozenset()
        return frozenset(
            note.desc.hex() for note in parse_notes(notes) if (note.name, note.kind) == _BUILD_ID
        )

    def memory(self) -> KernelImage:
        """Open /proc/kcore, with its text as it was before anybody's kprobes.

        Raises:
            ConstantsError: it cannot be read, or no names say where its text is.
        """
        image = open_kernel(self.root / KCORE)
        try:
            image.use_names(self.names)
        except BaseException:
            image.close()
            raise
        image.use_originals(Originals(image, lambda: self.types, self._own_file))
        return image

    def own_path(self) -> Path | None:
        """Return where the running kernel's own file is, None if it is at none of the usual places.

        It is opened to see that it is of this build: take it as ``--vmlinux``.
        """
        own = self._own_file()
        return own.path if own else None

    def same_build(self, image: KernelImage) -> bool | None:
        """Return whether ``image`` is of the running kernel's build; None: nothing says.

        By the build id; an image whose names do not lead to it, by the banner, which has the
        time of the build.
        """
        if image.build_id is not None and self.build_ids:
            return image.build_id in self.build_ids
        try:
            with (self.root / "proc/version").open("rb") as file:
                banner = file.read(4096)
        except OSError:
            return None
        return image.find(banner) is not None if banner.startswith(b"Linux version ") else None

    def _own_file(self) -> KernelImage | None:
        if self._own is not None:
            return self._own
        release = os.uname().release
        for name in _OWN_FILES:
            try:
                image = open_kernel(self.root / name.format(release))
            except ConstantsError:
                continue
            if self.same_build(image):
                self._own = image
                return image
            image.close()
        return None
