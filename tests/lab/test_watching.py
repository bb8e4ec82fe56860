# SPDX-License-Identifier: GPL-2.0-only
"""6.1 and 6.12: what watching a call costs is known, and nothing of the counting stays behind."""

import json
from collections.abc import Callable

import pytest

from recordings.format.reader import open_recording
from recordings.ledger.ours import ours
from recordings.ledger.warn_shares import warn_shares
from recordings.ledger.whole import fold
from tests.lab.compare import left_nothing, same_calls
from tests.lab.harness import Boot, Kernel, Lab
from tracers.kinds import Kind

pytestmark = pytest.mark.long
#: Each series by the rung of most probes under engine bcc: 6.4 has trampolines.
FIRST = {"6.1": "kprobe", "6.12": "fentry"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(series, marks=pytest.mark.xdist_group(f"watching-{series}"))
        for series in FIRST
    ],
)
def watched(
    request: pytest.FixtureRequest, lab: Lab, lab_kernel: Callable[[str], Kernel]
) -> tuple[str, Boot]:
    return request.param, lab.boot(lab_kernel(request.param), "watching.sh", timeout_s=600)


@pytest.mark.parametrize("engine", ["bcc", "tracefs"])
def test_every_probe_has_a_cost_and_what_was_ours_is_known(
    watched: tuple[str, Boot], engine: str
) -> None:
    series, boot = watched
    scene = f"watching-{engine}"
    kept = same_calls(boot, scene)
    left_nothing(boot, scene)
    seen = {row["kind"] for row in kept.rows}
    assert seen <= set(kept.header["observer"])
    assert kept.closing is not None
    costs = kept.closing["observer"]
    for kind in seen:
        assert 0 < costs[kind]["inside_ns"] <= costs[kind]["whole_ns"] < 50_000_000
    # what the kernel counted of engine bcc's programs, of all that ran
    assert {kind for kind in seen if costs[kind].get("measured")} == (
        seen if engine == "bcc" else set()
    )
    first = FIRST[series] if engine == "bcc" else "kprobe"
    assert {row["source"] for row in kept.of("add_pages")} == {first}
    with open_recording(boot.out / f"{scene}.arrows") as recording:
        snapshot = fold(recording)
    own = ours(snapshot, Kind.ADD_PAGES)
    assert own is not None
    assert own.in_calls_ns > 0
    assert all(part.corrected for part in warn_shares(snapshot))
    if series == "6.1":
        assert len(warn_shares(snapshot)) == 2


def test_light_has_every_address_and_timing_every_time(watched: tuple[str, Boot]) -> None:
    _, boot = watched
    whole, light = boot.recording("watching-bcc"), boot.recording("light")
    for kind in ("populate", "free"):
        assert [(row["start"], row["end"]) for row in light.of(kind, "point")] == [
            (row["start"], row["end"]) for row in whole.of(kind)
        ]
        assert light.of(kind, "exit") == []
    assert light.of("section_add", None) == []
    assert len(light.of("warn", "point")) == boot.warns("light")
    assert light.lost() == 0
    timing = boot.recording("timing")
    assert {row["source"] for row in timing.of("populate", None)} == {"derived"}
    assert timing.of("free", None) == []
    for kind in ("section_add", "add_pages", "warn"):
        assert len(timing.of(kind, "exit")) == len(whole.of(kind, "exit"))


def test_without_trampolines_the_same_calls_are_seen(watched: tuple[str, Boot]) -> None:
    series, boot = watched
    if series == "6.1":
        pytest.skip("6.1 has no trampolines: every recording of it is one without")
    kept = same_calls(boot, "kprobe")
    assert {row["source"] for row in kept.rows} == {"kprobe"}


def test_the_kernel_counts_only_while_somebody_watches(watched: tuple[str, Boot]) -> None:
    """A program of bpftrace's ran a thousand times: before, meanwhile and after kill -9."""
    _, boot = watched

    def counted(name: str) -> bool:
        programs = json.loads(boot.text(f"{name}.programs"))
        return any(each.get("run_cnt") for each in programs)

    assert [counted(name) for name in ("before", "meanwhile", "after")] == [False, True, False]
    assert boot.text("stats_enabled").strip() == "0"
    left_nothing(boot, "killed")
