# SPDX-License-Identifier: GPL-2.0-only
"""Tells systemd how a service is doing (sd_notify(3)): one datagram, no library."""

import contextlib
import os
import socket


def notify(*lines: str) -> None:
    """Send ``lines`` such as "READY=1" to NOTIFY_SOCKET, if systemd set one; errors are its own."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place[:1] not in ("/", "@"):
        return
    address = "\0" + place[1:] if place[0] == "@" else place
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
    ):
        sender.sendto("\n".join(lines).encode("utf-8", "replace"), address)
