# SPDX-License-Identifier: GPL-2.0-only
"""What a file of a bug report is, by its name: one table.

Promises: only the end of a path counts, so that a report may lie in any folder; of two rows that
fit the first is taken. A name is a promise that the content is held against
(``recordings.triage.bundle``): many things are called "config".

Sources: sos, sos/report/plugins/kernel.py (dmesg, uname, boot/config, pstore, tracing), pci.py
(proc/iomem), logs.py (messages, syslog, kern.log, journal), kdump.py (vmcore-dmesg.txt), and
``_mangle_command`` of __init__.py (blanks of a command become "_"); systemd's pstore.c (dmesg.txt);
the kernel's fs/pstore/inode.c (pstore_type_to_name and the backend's name); Android's dumpstate
(FS/…); docs/capture-by-hand.md for the names of our own folders.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Side file of ``tracers.machine_files.CAPS`` and ``kprobe_events``.
VMCOREINFO, IOMEM, CONFIG, UNAME = "kcore-vmcoreinfo", "iomem", "config", "uname"
PAGE_TABLES, KPROBE_EVENTS = "kernel_page_tables", "kprobe_events"
#: What is no side file.
LOG, PSTORE, TRACE, CORE = "log", "pstore", "trace", "core"
LOGS: Final = frozenset({LOG, PSTORE, TRACE})

_PACKED: Final = r"(?:\.(?:gz|xz|zst|lzma))?"


@dataclass(frozen=True, slots=True)
class Known:
    """What a name says: ``role``, and the folder of the machine that it belongs to."""

    role: str
    root: str  # "" or ending in "/"


#: Role, the end of the path. The first alternative that a report's own tool has comes first.
_TABLE: Final[Sequence[tuple[str, str]]] = (
    # -- the machine
    (VMCOREINFO, r"(?:kcore-)?vmcoreinfo(?:\.txt)?"),
    (IOMEM, r"(?:(?:FS/)?proc/)?iomem(?:\.txt)?"),
    (CONFIG, r"boot/config-[^/]+"),
    (CONFIG, r"(?:FS/)?proc/config(?:\.gz)?"),
    (CONFIG, r"lib/modules/[^/]+/config"),
    (CONFIG, r"(?:config|\.config|kconfig|config-\d[^/]*)(?:\.txt)?(?:\.gz)?"),
    (UNAME, r"sos_commands/kernel/uname_-a"),
    (UNAME, r"uname(?:[_-]a)?(?:\.txt)?"),
    (UNAME, r"(?:FS/(?:data/misc/recovery/)?)?proc/version"),
    (PAGE_TABLES, r"(?:sys/kernel/debug/)?kernel_page_tables(?:\.txt)?" + _PACKED),
    (KPROBE_EVENTS, r"(?:sys/kernel/(?:debug/)?tracing/)?kprobe_events"),
    # -- what the kernel said before it died: in parts, each begins with "Oops#1 Part1"
    (PSTORE, r"dmesg-[a-z_]+-\d+(?:\.enc\.z)?"),
    (LOG, r"console-(?:ramoops|[a-z]+)-\d+"),
    # -- logs
    (LOG, r"sos_commands/kernel/dmesg(?:_[^/]*)?"),
    (LOG, r"sos_commands/logs/journalctl_[^/]*"),
    (LOG, r"var/log/(?:dmesg|messages|syslog|kern\.log|kernel\.log)[^/]*"),
    (LOG, r"vmcore-dmesg[^/]*\.txt" + _PACKED),
    (LOG, r"dmesg(?:[._-][^/]*)?"),
    (LOG, r"(?:FS/(?:data/misc/recovery|proc)/)?last_kmsg(?:\.\d+)?"),
    (LOG, r"bugreport-[^/]*\.txt"),
    # -- memory, of kdump or QEMU
    (CORE, r"vmcore(?:[.-][^/]*)?"),
    (CORE, r"[^/]+\.(?:vmcore|kdump|core)"),
    (TRACE, r"(?:sys/kernel/(?:debug/)?tracing/)trace"),
    (TRACE, r"trace\.dat"),
)
#: The root is as short as can be: the longest end that fits.
_PATTERNS: Final = tuple(
    (role, re.compile(rf"(?P<root>(?:.*?/)??){end}", re.DOTALL)) for role, end in _TABLE
)
#: No log, though it is called like one: how much room the journal takes.
_NONE: Final = re.compile(r"journalctl_--disk-usage\Z")


def known(path: str) -> Known | None:
    """Return what the file at ``path`` (with "/" between folders) is by its name, None: unknown."""
    if _NONE.search(path):
        return None
    for role, pattern in _PATTERNS:
        if match := pattern.fullmatch(path):
            return Known(role, match["root"])
    return None
