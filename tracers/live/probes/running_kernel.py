# SPDX-License-Identifier: GPL-2.0-only
"""Reads what the ladder needs of the running kernel: symbols, kernel text and prototypes.

Promises: what cannot be read here (lockdown, no root, no BTF) is None, with the reason in
``missing``; addresses are the running kernel's own, whatever file the code was read from.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracers.constants.btf import Prototype
from tracers.constants.errors import ConstantsError
from tracers.constants.image.kernel_image import KernelImage, open_kernel
from tracers.constants.image.symbols import SymbolTable
from tracers.constants.running import RunningFiles

#: The function behind os.getppid, by machine (arch/*/include/asm/syscall_wrapper.h): on it is tried
#: what a probe costs.
HARMLESS: Final = {"aarch64": "__arm64_sys_getppid", "x86_64": "__x64_sys_getppid"}


@dataclass(slots=True)
class RunningKernel:
    """What is known. ``text`` holds code at link addresses; ``slide`` converts to running ones."""

    arch: str
    files: RunningFiles = field(default_factory=RunningFiles)
    names: SymbolTable | None = None
    text: KernelImage | None = None
    slide: int = 0  # running address minus the text's, modulo 2^64
    prototypes: dict[str, Prototype] = field(default_factory=dict)
    functions: dict[str, int] = field(default_factory=dict)  # -> its type's number in BTF
    missing: dict[str, str] = field(default_factory=dict)  # what -> why

    def close(self) -> None:
        """Close the text."""
        if self.text is not None:
            self.text.close()
        self.files.close()


def read_kernel(
    functions: tuple[str, ...], *, vmlinux: Path | None = None, root: Path = Path("/")
) -> RunningKernel:
    """Read what the running kernel exposes; ``vmlinux``: its own file, for the code.

    Raises:
        ConstantsError: ``vmlinux`` cannot be read, or is another kernel's than the running one.
    """
    files = RunningFiles(root)
    kernel = RunningKernel(os.uname().machine, files)
    try:
        kernel.names = files.names
    except ConstantsError as error:
        kernel.missing["kallsyms"] = str(error)
    try:
        kernel.prototypes = files.types.prototypes(functions)
        kernel.functions = files.types.functions((*functions, *HARMLESS.values()))
    except (OSError, ConstantsError) as error:
        kernel.missing["btf"] = getattr(error, "strerror", None) or str(error)
    if kernel.arch != "aarch64":
        kernel.missing["text"] = f"code is decoded for arm64, this machine runs {kernel.arch}"
        return kernel
    try:
        if vmlinux is not None:
            kernel.text = open_kernel(vmlinux)
            _same_build(kernel.text, files)
            kernel.slide = _slide(kernel)
        else:
            kernel.text = files.memory()
    except ConstantsError as error:
        kernel.close()
        if vmlinux is not None:
            raise
        kernel.missing["text"] = str(error)
    return kernel


def _same_build(text: KernelImage, files: RunningFiles) -> None:
    """Raise if ``text`` is of another build: its call instructions would lie elsewhere."""
    if files.same_build(text) is False:
        own = f", whose build id is {min(files.build_ids)}" if files.build_ids else ""
        raise ConstantsError(f"{text.path}: another kernel's than the running one{own}")


def _slide(kernel: RunningKernel) -> int:
    """Return how far the running kernel lies from its file (KASLR)."""
    own = kernel.text.symbol("_stext") if kernel.text else None
    here = kernel.names.find(["_stext"]).get("_stext") if kernel.names else None
    if own is None or here is None:
        raise ConstantsError(
            f"{kernel.text.path if kernel.text else ''}: where the running kernel lies is not"
            " known: read /proc/kallsyms as root"
        )
    return (here.va - own.va) % (1 << 64)
