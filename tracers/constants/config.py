# SPDX-License-Identifier: GPL-2.0-only
"""Reads a kernel's configuration, from a file (compressed or not) or from the kernel's own image.

Promises: no more is unpacked than a configuration can have; one that is not of arm64 is an error.

Source: kernel/configs.c (CONFIG_IKCONFIG: a gzip file between IKCFG_ST and IKCFG_ED), and
Documentation/arch/arm64/booting.rst for the header of the image.
"""

import re
import zlib
from pathlib import Path
from typing import Final

from tracers.constants.errors import ConstantsError
from tracers.constants.image import raw_header
from tracers.constants.image.kernel_image import KernelImage
from tracers.machine_files import CAPS
from tracers.regular_files import read_regular

_CAP: Final = CAPS["config"]
_MARKER: Final = b"IKCFG_ST"
_IKCONFIG_SIZES: Final = (1 << 20, 1 << 18, 1 << 16)  # one has some 60 KB, and more follows
_ARCH = re.compile(r"^# Linux/(\S{1,20}) ", re.MULTILINE)


def config_file(path: Path) -> str:
    """Return the text of /boot/config-*, .config or /proc/config.gz.

    Raises:
        ConstantsError: it cannot be read, is damaged, no configuration, or not of arm64.
    """
    try:
        data = read_regular(path, _CAP)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConstantsError(f"{path}: the configuration cannot be read: {reason}") from error
    return config_text(data, str(path))


def config_text(data: bytes, origin: str) -> str:
    """Return the text of a configuration, unpacked if it is gzip; ``origin`` names it in errors.

    Raises:
        ConstantsError: damaged, no configuration, or not of arm64.
    """
    if data.startswith(b"\x1f\x8b"):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            data = unpacker.decompress(data, _CAP)
        except zlib.error as error:
            raise ConstantsError(f"{origin}: damaged gzip data") from error
        if not unpacker.eof and len(data) < _CAP:
            raise ConstantsError(f"{origin}: damaged gzip data: cut short")
    text = data.decode("utf-8", "backslashreplace")
    if "CONFIG_" not in text:
        raise ConstantsError(f"{origin}: no kernel configuration")
    arch = _ARCH.search(text[:1000])
    if arch and arch[1] not in ("arm64", "aarch64"):
        raise ConstantsError(
            f"{origin}: the configuration of a kernel for {arch[1][:20]}, not arm64"
        )
    return text


def image_config(image: KernelImage) -> str | None:
    """Return the configuration that CONFIG_IKCONFIG put into ``image``, None if there is none.

    Raises:
        ConstantsError: there is one and it is damaged.
    """
    names = ("kernel_config_data", "kernel_config_data_end")
    at = image.symbols(names)
    if len(at) == len(names):
        start, end = (at[name].va for name in names)
        data = image.read(start, end - start) if 0 < end - start <= _CAP else None
    else:
        marker = image.find(_MARKER) if image.names is None else None
        if marker is None:
            return None
        # its length is not known: the compressed data end by themselves
        tries = (image.read(marker + len(_MARKER), size) for size in _IKCONFIG_SIZES)
        data = next((read for read in tries if read is not None), None)
    return None if data is None else config_text(data, "IKCONFIG")


def header_page_size(image: KernelImage) -> int | None:
    """Return the page size in bytes that the boot header states (since 4.6), or None.

    A vmlinux has it too, at the start of its text.
    """
    text = image.symbol("_text") if image.header_page_size is None else None
    header = image.read(text.va, 64) if text else None
    if header is None or header[0x38:0x3C] != b"ARM\x64":
        return image.header_page_size
    return raw_header.page_size(header, str(image.path))
