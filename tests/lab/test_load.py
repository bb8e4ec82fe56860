# SPDX-License-Identifier: GPL-2.0-only
"""6.1 under a generator of calls: every loss is counted, however fast they come.

vmemgen.ko calls vmemmap_free harmlessly and counts; every call of it must be in the recording or
in the recording's own count of what it lost.
"""

from collections.abc import Callable

import pytest

from tests.lab.harness import Boot, Kernel, Lab, generator

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def load(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    return lab.boot(generator(lab_kernel("6.1")), "load.sh", timeout_s=600)


@pytest.mark.parametrize("engine", ["tracefs", "bcc"])
@pytest.mark.parametrize("pace", ["steady", "overload"])
def test_the_counts_add_up(load: Boot, pace: str, engine: str) -> None:
    scene = f"{pace}-{engine}"
    calls = int(load.text(f"{scene}.calls").split()[0])
    ours = load.recording(scene)
    assert ours.closing is not None
    events = len(ours.of("free", None))
    assert calls > 1000
    assert events + ours.closing["lost"] == 2 * calls  # an entry and an exit each
    assert ours.closing["lost_unknown"] == ours.closing["torn"] == 0
    assert load.exit_code(scene) == (3 if ours.closing["lost"] else 0)


@pytest.mark.parametrize("engine", ["tracefs", "bcc"])
def test_the_filter_drops_them_all(load: Boot, engine: str) -> None:
    scene = f"filtered-{engine}"
    assert int(load.text(f"{scene}.calls").split()[0]) > 1000
    ours = load.recording(scene)
    assert ours.of("free", None) == []
    assert load.exit_code(scene) == 3  # no call was seen: that is not the same as clean
    if engine == "bcc":  # ftrace drops an event only after it took a place in the ring buffer
        assert ours.lost() == 0
