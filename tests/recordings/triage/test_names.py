# SPDX-License-Identifier: GPL-2.0-only
"""What a name says: the tools' own names, and names that only look like them."""

import pytest

from recordings.triage.names import (
    CONFIG,
    IOMEM,
    KPROBE_EVENTS,
    LOG,
    LOGS,
    PAGE_TABLES,
    PSTORE,
    TRACE,
    UNAME,
    VMCOREINFO,
    Known,
    known,
)
from tests.recordings.bug_reports import LAB
from tracers.machine_files import CAPS


# The names are those of sos' plugins kernel, pci, logs and kdump, of the kernel's pstore, and of
# systemd-pstore.
@pytest.mark.parametrize(
    ("path", "role", "root"),
    [
        ("sos_commands/kernel/dmesg", LOG, ""),
        ("sosreport-a-1/sos_commands/kernel/dmesg_-T", LOG, "sosreport-a-1/"),
        ("s/sos_commands/logs/journalctl_--no-pager_--boot_-1", LOG, "s/"),
        ("s/var/log/messages-20260101.gz", LOG, "s/"),
        ("s/var/log/kern.log.2.gz", LOG, "s/"),
        ("s/var/crash/127.0.0.1-2026-01-01-10:00:00/vmcore-dmesg.txt", LOG, None),
        ("s/sys/fs/pstore/dmesg-efi-165467616416002", PSTORE, None),
        ("dmesg-ramoops-0", PSTORE, ""),
        ("dmesg-erst-7012345678901234567", PSTORE, ""),
        ("console-ramoops-0", LOG, ""),
        ("var/lib/systemd/pstore/1700000000/dmesg.txt", LOG, None),
        ("FS/data/misc/recovery/last_kmsg", LOG, ""),
        ("s/sys/kernel/debug/tracing/trace", TRACE, "s/"),
        ("s/proc/iomem", IOMEM, "s/"),
        ("s/boot/config-6.1.0-13-arm64", CONFIG, "s/"),
        ("s/sos_commands/kernel/uname_-a", UNAME, "s/"),
        ("FS/proc/version", UNAME, ""),
        ("s/sys/kernel/debug/kernel_page_tables", PAGE_TABLES, "s/"),
        ("s/sys/kernel/tracing/kprobe_events", KPROBE_EVENTS, "s/"),
        ("machine/kcore-vmcoreinfo", VMCOREINFO, "machine/"),
        # its content says that it is none
        ("s/etc/selinux/config", CONFIG, "s/etc/selinux/"),
    ],
)
def test_a_known_name(path: str, role: str, root: str | None) -> None:
    found = known(path)
    assert found is not None
    assert found.role == role
    if root is not None:
        assert found.root == root


@pytest.mark.parametrize(
    "path",
    [
        "s/sos_commands/logs/journalctl_--disk-usage",
        "s/etc/iomem.conf",
        "notdmesg",
        "s/sys/kernel/debug/tracing/trace_pipe",
        "s/var/log/messages/inside",
        "",
        "/",
        "a\n/dmesg\n",
    ],
)
def test_any_other_name(path: str) -> None:
    assert known(path) is None


def test_our_own_folders_have_names_that_are_known() -> None:
    present = {path.name for path in LAB.iterdir()}
    assert set(CAPS) <= present
    for name in (*CAPS, "kprobe_events"):
        assert known(name) == Known(name, "")
        assert name not in LOGS


def test_a_newline_in_a_folder_s_name_hides_nothing() -> None:
    assert known("a\nb/dmesg") == Known(LOG, "a\nb/")
