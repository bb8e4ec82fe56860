"""Fixtures every test may use: the real captures, when they are there, and the samples."""

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure: time is measured in benchmarks/, never asserted here.
settings.register_profile("vmemscope", deadline=None, print_blob=True)
settings.load_profile("vmemscope")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def captures() -> Path:
    """Real kernels' own output, beside the checkout; the bundled samples are made of it."""
    folder = ROOT.parent / "shared" / "captures"
    if not folder.is_dir():
        pytest.skip("the kernel captures (../shared/captures) are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def samples() -> Path:
    """The recordings shipped in the wheel."""
    return ROOT / "recordings" / "samples"
