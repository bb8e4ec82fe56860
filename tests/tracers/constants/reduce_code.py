# SPDX-License-Identifier: GPL-2.0-only
"""Reduces arm64 kernels to the functions that the code tests decode, one JSON line each.

    python -m tests.tracers.constants.reduce_code KERNEL START END VA_BITS COMPILER CONFIG

START and END come from elsewhere than the code: the kernel's own VMCOREINFO note where it was
booted, else the macros as the compiler printed them from the same tree (DEFINE() in a file like
asm-offsets.c). The functions are the kernel's, GPL-2.0 like this project.
"""

import json
import sys
from pathlib import Path

from tracers.constants.dataflow.follow import Follower
from tracers.constants.dataflow.window_in_code import APPEND, CALLEE, VMCOREINFO_FUNCTIONS
from tracers.constants.image.kernel_image import KernelImage, open_kernel


def strings_of(image: KernelImage, code: bytes, va: int) -> dict[str, str]:
    """Return what the calls of a function have a string pointer to, by address."""
    strings = {}
    for call in Follower(code, va).calls() or ():
        for value in call.args[:2]:
            if value is not None and value[0] == "p":
                text, end, _ = (image.read(value[1], 96) or b"").partition(b"\0")
                if end and text.isascii():
                    strings[hex(value[1])] = text.decode()
    return strings


def reduce(image: KernelImage) -> dict[str, object]:
    """Return functions, the symbols they call and the strings they name."""
    functions = {}
    strings: dict[str, str] = {}
    for name in ("vmemmap_free", "vmemmap_populate", *VMCOREINFO_FUNCTIONS):
        body = image.function(name)
        if body is None:
            continue
        functions[name] = [hex(body.va), body.bytes.hex()]
        if name in VMCOREINFO_FUNCTIONS:
            strings |= strings_of(image, body.bytes, body.va)
    symbols = {s.name: hex(s.va) for s in image.symbols([CALLEE, APPEND]).values()}
    return {"functions": functions, "symbols": symbols, "strings": strings}


def main() -> None:
    """Print one kernel."""
    kernel, start, end, va_bits, compiler, config = sys.argv[1:]
    with open_kernel(Path(kernel)) as image:
        line = {
            "release": image.release,
            "compiler": compiler,
            "config": config,
            "start": start,
            "end": end,
            "va_bits": int(va_bits),
            **reduce(image),
        }
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
