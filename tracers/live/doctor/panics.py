# SPDX-License-Identifier: GPL-2.0-only
"""Reads the sysctls that make a WARN or an Oops panic the kernel, which ends any recording.

Promises: a setting that cannot be read is unknown (None), never off.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: sysctl kernel.NAME (kernel/panic.c): with any number but 0 the kernel panics at what is named.
#: warn_limit is of Linux 6.2, commit 9fc9e278a5c0 ("panic: Introduce warn_limit").
PANICS: Final[Mapping[str, str]] = {
    "panic_on_warn": "the first WARN",
    "warn_limit": "the WARN that reaches it",
    "panic_on_oops": "an Oops",
}


def panicking(root: Path = Path("/")) -> dict[str, bool | None]:
    """Return for each of ``PANICS`` whether it is on; None where it cannot be read."""
    return {name: _on(root / "proc/sys/kernel" / name) for name in PANICS}


def _on(path: Path) -> bool | None:
    try:
        return path.read_text(errors="replace").strip() not in ("", "0")
    except OSError:
        return None
