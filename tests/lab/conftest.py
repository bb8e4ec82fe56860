# SPDX-License-Identifier: GPL-2.0-only
"""The lab's fixtures; ``make test-lab`` runs these tests, ``make test`` does not.

Each boot is one fixture of the module that reads it, and all its scenes share it: its tests are a
group, which one worker runs. What a machine lacks (QEMU, mmdebstrap, a kernel) skips what needs it,
with the reason.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.lab.harness import Kernel, Lab, Missing, kernel, stock


@pytest.hookimpl(tryfirst=True)  # before xdist reads them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make a group of each file's tests, but for those that name a boot of their own."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """Skip a test one of whose fixtures raised ``Missing``, now or for a test before it."""
    try:
        return (yield)
    except Missing as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The guest's root and the installed project."""
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="session")
def lab_kernel() -> Callable[[str], Kernel]:
    """A lab kernel by name."""
    return kernel


@pytest.fixture(scope="session")
def debian(lab: Lab) -> Callable[[str], Kernel]:
    """A stock Debian kernel by series."""
    return lambda series: stock(series, lab.folder)
