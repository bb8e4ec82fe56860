# SPDX-License-Identifier: GPL-2.0-only
"""Bug reports made of a real kernel's own output: as sosreport, pstore and others lay them out."""

import io
import lzma
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import TESTS

LAB = TESTS / "captures" / "6.1.192-vmemlab-39bit"
#: The lab's 16 GiB storm: ftrace saw 128 populate and 128 free calls, all above.
STORM = lzma.decompress((LAB / "hole.dmesg.txt.xz").read_bytes())
#: One populate and one free call, both below.
BELOW = (LAB / "below.dmesg.txt").read_bytes()
_TIME = re.compile(rb"^\[ *\d+\.\d+\]", re.MULTILINE)


def journal(dmesg: bytes) -> bytes:
    """The same lines as ``journalctl`` shows them."""
    return _TIME.sub(b"Nov 28 10:00:00 lab kernel:", dmesg)


def sosreport(log: bytes = STORM, *, note: bool = True, name: str = "sosreport-lab-1") -> dict:
    """Path -> content of a sosreport's files that are of use, and of some that are not.

    Without ``note`` there is none of the files that tell the window.
    """
    files = {}
    if note:
        files = {
            "boot/config-6.1.192-vmemlab": (LAB / "config").read_bytes(),
            "kcore-vmcoreinfo": (LAB / "kcore-vmcoreinfo").read_bytes(),
            "sys/kernel/debug/kernel_page_tables": (LAB / "kernel_page_tables").read_bytes(),
        }
    files |= {
        "etc/selinux/config": b"SELINUX=enforcing\n",
        "proc/iomem": (LAB / "iomem").read_bytes(),
        "sos_commands/kernel/dmesg": log,
        "sos_commands/kernel/uname_-a": (LAB / "uname").read_bytes(),
        "sos_commands/logs/journalctl_--disk-usage": b"Archived journals take up 8.0M\n",
        "sos_commands/logs/journalctl_--no-pager_--boot": journal(log),
        "var/log/dmesg": b"",
    }
    return {f"{name}/{path}": content for path, content in files.items()}


def as_folder(files: Mapping[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def as_tar(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in files.items():
            tar.addfile(header(name, len(content)), io.BytesIO(content))
    return out.getvalue()


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **more) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type = size, kind
    for key, value in more.items():
        setattr(made, key, value)
    return made


def pstore(log: bytes, size: int = 900) -> dict[str, bytes]:
    """Efi's records of a log (fs/pstore/platform.c): part 1 is the end of it."""
    parts = [log[at : at + size] for at in range(0, len(log), size)]
    return {
        f"sys/fs/pstore/dmesg-efi_pstore-1700000000{part:02}001": b"Oops#1 Part%d\n%s"
        % (part, content)
        for part, content in enumerate(reversed(parts), 1)
    }
