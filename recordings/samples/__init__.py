# SPDX-License-Identifier: GPL-2.0-only
"""Recordings of real arm64 kernels that ship with the tool: ``make samples``, ``samples-lab``."""

from pathlib import Path

#: ``sample:NAME`` on the command line opens one of these.
PREFIX = "sample:"
#: The folder they lie in.
SAMPLES = Path(__file__).parent


def sample_names() -> tuple[str, ...]:
    """The names of the bundled recordings, sorted."""
    return tuple(sorted(path.stem for path in SAMPLES.glob("*.arrows")))


def sample_path(name: str) -> Path:
    """Where the bundled recording ``name`` lies.

    Raises:
        KeyError: there is no such sample.
    """
    if name not in sample_names():
        raise KeyError(name)
    return SAMPLES / f"{name}.arrows"
