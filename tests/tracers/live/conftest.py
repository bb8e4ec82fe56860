# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures: a booted machine made of files, and fake engines."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracers.live.booted import forget_bcc, lab
from tests.tracers.live.fakes import Fake
from tracers.live import session
from tracers.live.doctor import early
from tracers.live.tracefs import breakpoints


@pytest.fixture
def engines(monkeypatch) -> Iterator[dict[str, object]]:
    """Engines by name, each an engine or why there is none; 6 breakpoint slots; an arm64 CPU."""
    own = os.uname()
    made: dict[str, object] = {"bcc": Fake(), "tracefs": Fake()}

    def opener(name):
        def build(*_):
            if isinstance(made[name], Exception):
                raise made[name]
            return made[name]

        return build

    monkeypatch.setattr(session, "_OPENERS", {name: opener(name) for name in made})
    monkeypatch.setattr(early, "open_bcc", opener("bcc"))
    monkeypatch.setattr(breakpoints, "free_breakpoints", lambda: 6)
    monkeypatch.setattr(
        os, "uname", lambda: os.uname_result((*own[:2], "6.1.192-vmemlab", own[3], "aarch64"))
    )
    yield made
    forget_bcc()


@pytest.fixture
def machine(tmp_path: Path, captures: Path, engines: dict[str, object]) -> Path:
    """A booted lab 6.1 where everything works that live capture uses."""
    assert len(engines) == 2
    return lab(tmp_path, captures)
