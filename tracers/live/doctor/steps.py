# SPDX-License-Identifier: GPL-2.0-only
"""The next step for each thing that live capture lacks, for Debian, Ubuntu and Fedora.

Promises: every step is a command or a setting that can be used as it is, with the running release
filled in.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DISTRIBUTIONS: Final = ("debian", "ubuntu", "fedora")

_ANY: Final = {
    "root": "run it with sudo, or give the service AmbientCapabilities=CAP_SYS_ADMIN CAP_BPF"
    " CAP_PERFMON CAP_SYSLOG CAP_DAC_OVERRIDE CAP_SYS_RAWIO",
    "sudo": "run it with sudo",
    "container": "this root lacks capabilities: run it outside of the container, or start that with"
    " --privileged",
    "securityfs": "mount -t securityfs nodev /sys/kernel/security",
    "tracefs": "mount -t tracefs nodev /sys/kernel/tracing",
    "ftrace": "a kernel with CONFIG_FTRACE=y and CONFIG_KPROBE_EVENTS=y: the distribution's own has"
    " both",
    "kprobe_events": "a kernel with CONFIG_KPROBE_EVENTS=y: the distribution's own has it",
    "lockdown": "boot without lockdown=confidentiality; with Secure Boot, turn it off or use"
    " lockdown=integrity",
    "kptr_restrict": "sysctl kernel.kptr_restrict=1",
    "kallsyms": "a kernel with CONFIG_KALLSYMS=y: the distribution's own has it",
    "btf": "a kernel with CONFIG_DEBUG_INFO_BTF=y; without it the arguments of __remove_pages and"
    " sparse_remove_section may stay unknown",
    "breakpoints": "close debuggers and perf sessions that hold breakpoints; without a slot"
    " vmemmap_populate is derived from __add_pages",
    "stream": "or stream off the machine: vmemscope record -o - | ssh HOST 'cat > FILE'",
    "arm64": "run it on the arm64 machine, or import its own ftrace text",
}
_OWN: Final = {
    "bcc": {
        "debian": "apt install python3-bpfcc",
        "ubuntu": "apt install python3-bpfcc",
        "fedora": "dnf install python3-bcc",
    },
    "broken bcc": {
        "debian": "apt install --reinstall python3-bpfcc libbpfcc",
        "ubuntu": "apt install --reinstall python3-bpfcc libbpfcc",
        "fedora": "dnf reinstall python3-bcc bcc",
    },
    "vmlinux": {
        "debian": "apt install linux-image-{release}-dbg, then vmemscope doctor --vmlinux"
        " /usr/lib/debug/boot/vmlinux-{release}",
        "ubuntu": "apt install linux-image-{release}-dbgsym (ddebs), then vmemscope doctor"
        " --vmlinux /usr/lib/debug/boot/vmlinux-{release}",
        "fedora": "dnf debuginfo-install kernel-{release}, then vmemscope doctor --vmlinux"
        " /usr/lib/debug/lib/modules/{release}/vmlinux",
    },
}


def distribution(root: Path = Path("/")) -> str | None:
    """Return which of ``DISTRIBUTIONS`` this is, or is like; None: another."""
    try:
        text = (root / "etc/os-release").read_text(errors="replace")
    except OSError:
        return None
    pairs = (line.partition("=") for line in text.splitlines())
    fields = {name: value.strip("\"' ") for name, _, value in pairs}
    names = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    return next((name for name in names if name in DISTRIBUTIONS), None)


def steps(what: str, release: str | None = None) -> Mapping[str, str]:
    """Return the next step by distribution; under "" where it is the same for all."""
    if what in _ANY:
        return {"": _ANY[what]}
    filled = release or os.uname().release
    return {name: step.format(release=filled) for name, step in _OWN[what].items()}
