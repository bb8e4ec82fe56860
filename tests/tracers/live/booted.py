# SPDX-License-Identifier: GPL-2.0-only
"""A booted lab 6.1 as files: all that doctor reads, with contents as the kernel writes them."""

import sys
from pathlib import Path

from tests.tracers.live.machines import BTF_6_1, running
from tracers.live.bcc import find_module
from tracers.live.doctor.examine import Check, Diagnosis, examine

LAB, CAPTURE = "lab-6.1.192-39bit-4k", "6.1.192-vmemlab-39bit"
TRACING = "sys/kernel/tracing"
STATUS = "Name:\tpython3\nUid:\t0\t0\t0\t0\nCapInh:\t0000000000000000\nCapEff:\t{}\nSeccomp:\t0\n"
#: As a booted arm64 6.1 shows them.
FILES = {
    "proc/self/status": STATUS.format("000001ffffffffff"),  # root
    "sys/kernel/security/lsm": "lockdown,capability,landlock,yama,apparmor,bpf",
    "sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
    "proc/sys/kernel/osrelease": "6.1.192-vmemlab\n",
    "proc/sys/kernel/kptr_restrict": "1\n",
    "proc/sys/kernel/panic_on_warn": "0\n",
    "proc/sys/kernel/panic_on_oops": "0\n",
    "proc/sys/kernel/warn_limit": "0\n",
    "sys/kernel/warn_count": "0\n",
    "dev/kmsg": "6,0,0,-;Booting Linux on physical CPU 0x0000000000 [0x411fd070]\n",
    f"{TRACING}/kprobe_events": "",
    f"{TRACING}/trace": "# tracer: nop\n",
    f"{TRACING}/events/error_report/error_report_end/format": "name: error_report_end\n",
    "usr/lib/python3/dist-packages/bcc/__init__.py": (
        "from .libbcc import lib\n__version__ = '0.26.0'\nclass BPF: pass\n"
    ),
    "usr/lib/python3/dist-packages/bcc/libbcc.py": "lib = 'libbcc.so.0'\n",
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def lab(root: Path, captures: Path) -> Path:
    """Fill ``root`` with a booted lab 6.1 where everything works that live capture uses."""
    note = (captures / CAPTURE / "kcore-vmcoreinfo").read_text()
    write(running(root, LAB, slide=0, btf=BTF_6_1, note=note), FILES)
    return root


def forget_bcc() -> None:
    for name in [each for each in sys.modules if each.startswith(find_module._NAME)]:
        del sys.modules[name]


def named(diagnosis: Diagnosis, name: str) -> Check:
    (check,) = [each for each in diagnosis.checks if each.name == name]
    return check


def checked(root: Path, name: str) -> Check:
    return named(examine(root), name)


def hide(root: Path) -> None:
    """What kptr_restrict=2 makes of kallsyms for root, and 1 for everybody else."""
    path = root / "proc/kallsyms"
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{0:016x}{line[16:]}\n" for line in lines))
