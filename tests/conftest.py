# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures every test may use: the real captures and the samples made of them."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
