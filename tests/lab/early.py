# SPDX-License-Identifier: GPL-2.0-only
"""Makes an initramfs that loads a module before the root is mounted, as a driver at boot is.

For kernels that have virtio and 9p built in (the lab's own). Promises: as ``initramfs``.
usage: early.py BUSYBOX MODULE COMMAND > FILE   (COMMAND: of its shell, the module in /modules)
"""

from collections.abc import Iterator
from pathlib import Path
from stat import S_IFCHR, S_IFDIR, S_IFREG
from typing import Final

from tests.lab.initramfs import newc

INIT: Final = """#!/busybox sh
/busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
{command}
/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro root /root
/busybox umount -l /dev
exec /busybox switch_root /root /lab-init
"""


def early(busybox: Path, module: Path, command: str) -> Iterator[bytes]:
    """Yield the archive's members in order; ``command``: of /init's shell, MODULE in /modules."""
    for folder in ("dev", "modules", "root"):
        yield newc(folder, S_IFDIR | 0o755)
    yield newc("dev/console", S_IFCHR | 0o600, device=(5, 1))
    yield newc("busybox", S_IFREG | 0o755, busybox.read_bytes())
    yield newc(f"modules/{module.name}", S_IFREG | 0o644, module.read_bytes())
    yield newc("init", S_IFREG | 0o755, INIT.format(command=command).encode())
    yield newc("TRAILER!!!", 0)
