# SPDX-License-Identifier: GPL-2.0-only
"""The state of the machine that decides which next step helps.

Promises: a step is offered only where following it changes the answer: no sudo to who is root
already, nothing to mount that is mounted, no package where the kernel's own file is at hand.
"""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracers.live.doctor.steps import steps

#: include/uapi/linux/capability.h; what /proc/kcore, tracefs, kallsyms, perf and BPF ask for.
CAPABILITIES: Final = {
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYSLOG": 34,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
#: Split off CAP_SYS_ADMIN by a17b53c4a4b5 and 980737282232 (5.8), which still stands for both.
_WITHIN_ADMIN: Final = ("CAP_PERFMON", "CAP_BPF")
CONFIDENTIALITY: Final = "confidentiality"
_NOTHING: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class State:
    """What the steps depend on. ``None`` is what cannot be found out."""

    root: Path
    is_root: bool
    missing: tuple[str, ...] | None  # of the capabilities
    lockdown: str | None  # the mode
    restrict: str  # kptr_restrict, "?" where it cannot be read
    own_file: Path | None  # the running kernel's

    @property
    def locked(self) -> bool:
        """Whether the kernel keeps its memory and its probes from everybody."""
        return self.lockdown == CONFIDENTIALITY

    def access(self) -> Mapping[str, str]:
        """Return the step to what only root with all capabilities may do; none to who has them."""
        if self.locked:
            return steps("lockdown")
        if not self.is_root:
            return steps("sudo")
        return steps("container") if self.missing else _NOTHING

    def as_root(self, what: str) -> Mapping[str, str]:
        """Return a step that is a command of root's, as this user gives it."""
        if self.is_root:
            return steps(what)
        return {whose: f"sudo {step}, then run it with sudo" for whose, step in steps(what).items()}

    def names(self) -> Mapping[str, str]:
        """Return the step to the kernel's names: kptr_restrict 2 hides them from root, too."""
        if not visible(self.root / "proc/kallsyms"):
            return steps("kallsyms")
        if self.restrict == "2" and not (self.is_root and self.missing):
            return self.as_root("kptr_restrict")
        if not self.is_root:  # lockdown does not hide them
            return steps("sudo")
        return steps("container") if self.missing else _NOTHING

    def log(self) -> Mapping[str, str]:
        """Return the step to the kernel log: lockdown leaves it alone."""
        if not self.is_root:
            return steps("sudo")
        return steps("container") if self.missing else _NOTHING

    def text(self) -> Mapping[str, str]:
        """Return the step to the kernel's code, where its memory is not to be read."""
        if not (self.is_root or self.locked) and visible(self.root / "proc/kcore"):
            return steps("sudo")
        if self.own_file is not None:
            sudo = "" if self.is_root else "sudo "
            step = f"{sudo}vmemscope doctor --vmlinux {shlex.quote(str(self.own_file))}"
            return {"": f"{step}; record and live take it, too"}
        if self.missing and not self.locked:
            return steps("container")
        return steps("vmlinux")


def read_state(root: Path, own_file: Path | None) -> State:
    """Read it from the files under ``root``; ``own_file``: the running kernel's, if it is there."""
    return State(
        root,
        os.geteuid() == 0,
        _missing(root),
        _lockdown(root),
        (read(root / "proc/sys/kernel/kptr_restrict") or "?").strip(),
        own_file,
    )


def _missing(root: Path) -> tuple[str, ...] | None:
    text = read(root / "proc/self/status") or ""
    effective = re.search(r"^CapEff:\s*([0-9a-f]{16})$", text, re.MULTILINE)
    if effective is None:
        return None
    mask = int(effective[1], 16)
    held = {name for name, bit in CAPABILITIES.items() if mask >> bit & 1}
    if "CAP_SYS_ADMIN" in held:
        held.update(_WITHIN_ADMIN)
    return tuple(name for name in CAPABILITIES if name not in held)


def _lockdown(root: Path) -> str | None:
    mode = re.search(r"\[(\w+)\]", read(root / "sys/kernel/security/lockdown") or "")
    return mode[1] if mode else None


def filesystem(root: Path, name: str) -> bool:
    """Return whether the kernel has a file system; True where it does not say."""
    text = read(root / "proc/filesystems")
    return text is None or name in text.split()


def visible(path: Path) -> bool:
    """Return whether a file is visible: ``Path.exists`` raises where access is denied."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def read(path: Path) -> str | None:
    """Return a file's text, None where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
