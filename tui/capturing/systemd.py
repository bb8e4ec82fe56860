# SPDX-License-Identifier: GPL-2.0-only
"""Tells systemd the state of a service (sd_notify(3)): one datagram, no library."""

import contextlib
import os
import socket


def notify(*lines: str) -> None:
    """Send ``lines`` such as "READY=1" to NOTIFY_SOCKET, if systemd set one; errors are ignored."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    address = "\0" + path[1:] if path[0] == "@" else path
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
    ):
        sender.sendto("\n".join(lines).encode("utf-8", "replace"), address)
