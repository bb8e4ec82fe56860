# SPDX-License-Identifier: GPL-2.0-only
"""Builds the BPF program's source, and has BCC compile it without kernel headers or output.

BCC compiles inside a kernel source tree and includes its own helpers, which need kernel headers.
program.c needs neither: it gets an empty tree whose one header disables both. So the engine works
on stock kernels without a headers package, and compiles in a fraction of the time.
"""

import ctypes
import os
import struct
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tracers.live.probes.engine import LiveError
from tracers.live.probes.points import Filters

SLOTS: Final = 12  # probes at a time
WARN_SLOT: Final = 0
NONE: Final = 255  # no such register
#: Stands for the slot's number in the compiled functions; no other constant of theirs.
SLOT_MARK: Final = 0x5107_5107
#: No types for BTF, and clang's own optimizing left out, as BCC runs all of LLVM's after it: each
#: halves the time.
_FLAGS: Final = ["-g0", "-Xclang", "-disable-llvm-passes"]
TO_TRACEFS: Final = "use --engine tracefs"

#: What hides BCC's own helpers and its copy of bpf.h, the only users of kernel headers.
_GUARDS: Final = "#define __BPF_HELPERS_H\n#define _UAPI__LINUX_BPF_H__\n"
FILE_BYTES: Final = 128  # struct name
RING_BYTES: Final = 16 << 20  # a power of two


def program(filters: Filters, ours: Sequence[tuple[int, int]], ring_bytes: int) -> str:
    """Return the C text: the filters as constants, and program.c."""
    wanted, inside = ["1"], "0"
    if filters.pid is not None:
        wanted.append(f"(who) >> 32 == {filters.pid}")
    if filters.comm is not None:
        name = filters.comm.encode("utf-8", "surrogateescape")[:15].ljust(16, b"\0")
        wanted += [
            f"(comm)[{i}] == 0x{word:x}ull" for i, word in enumerate(struct.unpack("<2Q", name))
        ]
    if filters.window is not None:
        # modulo 2^64, as the window may end there: a range that runs backwards is not inside
        first, end = filters.window
        size = (end - first) % 2**64
        inside = (
            f"((start) - 0x{first:x}ull < 0x{size:x}ull"
            f" && (end) - (start) <= 0x{end:x}ull - (start))"
        )
    ranges = [f"(address) - 0x{a:x}ull < 0x{(b - a) % 2**64:x}ull" for a, b in ours]
    return "\n".join(
        [
            f"#define RING_BYTES {ring_bytes}",
            f"#define SLOTS {SLOTS}",
            f"#define SLOT {SLOT_MARK}",
            f"#define WANTED(who, comm) ({' && '.join(wanted)})",
            f"#define INSIDE(start, end) ({inside})",
            f"#define OURS(address) ({' || '.join(ranges) or '0'})",
            Path(__file__).with_name("program.c").read_text("ascii"),
        ]
    )


def compile_program(bpf: Any, text: str) -> Any:  # noqa: ANN401 - BCC ships no types
    """Return BCC's object of a program, compiled in a kernel source tree that holds nothing."""
    before = os.environ.get("BCC_KERNEL_SOURCE")
    with tempfile.TemporaryDirectory(prefix="vmemscope-") as directory, quiet() as printed:
        include = Path(directory) / "include/linux"
        include.mkdir(parents=True)
        (include / "kconfig.h").write_text(_GUARDS)
        os.environ["BCC_KERNEL_SOURCE"] = directory  # BCC compiles there, and looks no further
        try:
            return bpf(text=text.encode(), cflags=_FLAGS)
        except Exception as error:  # noqa: BLE001 - BCC raises nothing narrower
            failed = error
        finally:
            if before is None:
                del os.environ["BCC_KERNEL_SOURCE"]
            else:
                os.environ["BCC_KERNEL_SOURCE"] = before
    raise LiveError(f"BCC cannot compile the program ({one_line(failed, printed)}): {TO_TRACEFS}")


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Keep what C code prints off the terminal; yield its lines, filled in at the end."""
    printed: list[str] = []
    sys.stdout.flush()
    sys.stderr.flush()
    flush = ctypes.CDLL(None).fflush
    saved = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as file:
        try:
            for fd in (1, 2):
                os.dup2(file.fileno(), fd)
            yield printed
        finally:
            flush(None)
            for fd, old in zip((1, 2), saved, strict=True):
                os.dup2(old, fd)
                os.close(old)
            file.seek(0)
            printed += file.read().decode("utf-8", "backslashreplace").splitlines()


def one_line(error: BaseException | str, printed: Sequence[str] = ()) -> str:
    """Return an error as one line, followed by the last meaningful line that was printed."""
    texts = [" ".join(line.split()) for line in printed]
    wanted = [text for text in texts if "error" in text.lower()] or [text for text in texts if text]
    message = f"{error}".replace("b'", "'")
    return " ".join(f"{message}: {wanted[-1]}".split()) if wanted else message
