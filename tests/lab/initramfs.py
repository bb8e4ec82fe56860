#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Makes an initramfs that boots a distribution's kernel from a 9p root: busybox and a few modules.

Promises: an uncompressed cpio archive (newc, as the kernel's usr/gen_init_cpio writes it) whose
/init loads what there is of ``MODULES``, mounts the 9p share "root" and hands over to the init
of the kernel's command line. Needs neither cpio nor depmod, and runs nothing of arm64.
usage: initramfs.py BUSYBOX MODULES_FOLDER > FILE
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from stat import S_IFCHR, S_IFDIR, S_IFREG
from typing import Final

#: In the order of their dependencies; a kernel that has one built in has no file of it.
MODULES: Final = (
    *("virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"),
    *("netfs", "fscache", "9pnet", "9pnet_virtio", "9p"),
    *("virtio_console", "virtio_mem", "qemu_fw_cfg"),
)
INIT: Final = """#!/busybox sh
/busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
for module in {modules}; do /busybox insmod /modules/$module || echo "LAB: no $module"; done
/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro root /root
/busybox umount -l /dev
exec /busybox switch_root /root /lab-init
"""


def newc(name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """Return one member: a header of hexadecimal numbers, the name, the data, each to 4 bytes."""
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def members(busybox: Path, modules: Path) -> Iterator[bytes]:
    """Yield the archive's members in order."""
    by_name = {path.name.partition(".")[0]: path for path in sorted(modules.rglob("*.ko*"))}
    files = [by_name[name] for name in MODULES if name in by_name]
    for folder in ("dev", "modules", "root"):
        yield newc(folder, S_IFDIR | 0o755)
    yield newc("dev/console", S_IFCHR | 0o600, device=(5, 1))
    yield newc("busybox", S_IFREG | 0o755, busybox.read_bytes())
    for path in files:
        yield newc(f"modules/{path.name}", S_IFREG | 0o644, path.read_bytes())
    init = INIT.format(modules=" ".join(path.name for path in files))
    yield newc("init", S_IFREG | 0o755, init.encode())
    yield newc("TRAILER!!!", 0)


if __name__ == "__main__":
    sys.stdout.buffer.writelines(members(Path(sys.argv[1]), Path(sys.argv[2])))
