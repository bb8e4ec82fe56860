# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures every test may use: the real captures and the samples made of them."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from recordings.capture.importing import import_log

# A busy machine is no failure: time is measured in benchmarks/, never asserted here.
# In CI the examples are the same every time; at a desk they are new ones.
settings.register_profile(
    "vmemscope", deadline=None, print_blob=True, derandomize="CI" in os.environ
)
settings.load_profile("vmemscope")

TESTS = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def captures() -> Path:
    """Real kernels' own output: what expected values come from."""
    return TESTS / "captures"


@pytest.fixture(scope="session")
def samples() -> Path:
    """The recordings shipped in the wheel."""
    return TESTS.parent / "recordings" / "samples"


@pytest.fixture(scope="session")
def traced(captures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storms of the same kernels imported from hole.ftrace.txt.

    Their populate calls are derived and their sections not timed, and the trace has all the rest.
    """
    out = tmp_path_factory.mktemp("traced")
    for name, kernel in (
        ("storm", "6.1.192-vmemlab-39bit"),
        ("storm-once", "6.1.192-vmemlab-once-39bit"),
    ):
        folder = captures / kernel
        import_log(folder / "hole.ftrace.txt", out / f"{name}.arrows", machine_dir=folder)
    return out
