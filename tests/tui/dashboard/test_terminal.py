# SPDX-License-Identifier: GPL-2.0-only
"""The driver is ours where Textual's own would be."""

from textual.drivers.linux_driver import LinuxDriver

from tui.dashboard.scope_app import ScopeApp
from tui.dashboard.terminal import TerminalDriver


def test_the_application_takes_it_in_the_place_of_textuals_own(monkeypatch):
    app = ScopeApp.__new__(ScopeApp)
    monkeypatch.delenv("TEXTUAL_DRIVER", raising=False)
    assert app.get_driver_class() is TerminalDriver
    assert issubclass(TerminalDriver, LinuxDriver)
