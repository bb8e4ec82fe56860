# SPDX-License-Identifier: GPL-2.0-only
"""The rungs of real kernels, and the climb with engines that reject probes."""

import os
from dataclasses import replace

import pytest

from tests.kernels.files import kernel
from tests.tracers.live.machines import BTF_6_1, BTF_6_12, SLIDE, running
from tests.tracers.live.oracle import symbols
from tracers.events import Kind
from tracers.kernel_functions import KINDS, REQUESTS, TABLE
from tracers.live.probes.call_sites import Calls
from tracers.live.probes.engine import AttachError, NoSuchRungError
from tracers.live.probes.ladder import Ladder, climb, ladders
from tracers.live.probes.points import Probe, ProbeAddress, Rung, Watch
from tracers.live.probes.rungs import RUNGS
from tracers.live.probes.running_kernel import RunningKernel, read_kernel

OLD, NEW = "lab-6.1.192-39bit-4k", "lab-6.12.117-48bit-4k"
RANGE = (("start", 0), ("end", 1), ("nid", 2))
PAGES = (("nid", 0), ("pfn", 1), ("nr_pages", 2))


@pytest.fixture(autouse=True)
def arm64(monkeypatch):
    own = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*own[:4], "aarch64")))


def climbed(root, **options) -> dict[Kind, Ladder]:
    known = read_kernel(tuple(KINDS), root=root, vmlinux=options.pop("vmlinux", None))
    try:
        return {ladder.kind: ladder for ladder in ladders(known, **options)}
    finally:
        known.close()


def rung(ladder: Ladder, which: Rung) -> Probe:
    (probe,) = [probe for probe in ladder.probes if probe.rung is which]
    return probe


def why_not(ladder: Ladder, which: Rung) -> str:
    return dict(ladder.impossible)[which]


@pytest.mark.parametrize("from_file", [False, True])
def test_every_rung_of_populate_is_where_objdump_says(tmp_path, from_file):
    root = running(tmp_path, NEW, btf=BTF_6_12, core=not from_file)
    ladder = climbed(root, vmlinux=kernel(NEW) if from_file else None)[Kind.POPULATE]
    assert [probe.rung for probe in ladder.probes] == [Rung.KPROBE, Rung.CALLSITE, Rung.BREAKPOINT]
    function = ProbeAddress("vmemmap_populate", 0, 0xFFFF800080028590 + SLIDE)
    call = ProbeAddress("__populate_section_memmap", 0x5C, 0xFFFF8000802758B4 + SLIDE)
    behind = ProbeAddress("__populate_section_memmap", 0x60, 0xFFFF8000802758B8 + SLIDE)
    entry, callsite, stop = ladder.probes
    assert (entry.entries, entry.exits, entry.timed) == ((function,), (), True)
    assert (callsite.entries, callsite.exits, callsite.timed) == ((call,), (behind,), True)
    assert (stop.entries, stop.exits, stop.timed) == ((function,), (behind,), True)
    assert {probe.registers for probe in ladder.probes} == {RANGE}
    assert {probe.ret for probe in ladder.probes} == {"int"}


def test_what_no_call_site_can_tell(tmp_path):
    found = climbed(running(tmp_path, OLD, slide=0, btf=BTF_6_1))
    assert "also jumped to" in why_not(found[Kind.FREE], Rung.CALLSITE)
    # three calls, one of them jumped behind: the breakpoint sees the entry alone
    assert rung(found[Kind.FREE], Rung.BREAKPOINT).timed is False
    assert rung(found[Kind.FREE], Rung.BREAKPOINT).exits == ()
    for kind in (Kind.MEMREMAP, Kind.MEMUNMAP):
        assert "modules call it" in why_not(found[kind], Rung.CALLSITE)
        assert rung(found[kind], Rung.BREAKPOINT).timed is False
    two = rung(found[Kind.ADD_PAGES], Rung.CALLSITE)
    assert [str(place) for place in two.entries] == ["arch_add_memory+0xbc", "memremap_pages+0x368"]
    assert rung(found[Kind.ADD_PAGES], Rung.BREAKPOINT).timed is False
    assert Rung.CALLSITE in dict(found[Kind.WARN].impossible)


def test_section_removal_lost_a_parameter(tmp_path):
    old = climbed(running(tmp_path / "old", OLD, slide=0, btf=BTF_6_1))[Kind.SECTION_REMOVE]
    new = climbed(running(tmp_path / "new", NEW, btf=BTF_6_12))[Kind.SECTION_REMOVE]
    assert old.probes[0].registers == (("pfn", 1), ("nr_pages", 2))
    assert new.probes[0].registers == (("pfn", 0), ("nr_pages", 1))


def test_without_btf_only_what_never_moved_is_read(tmp_path):
    found = climbed(running(tmp_path, OLD, slide=0))
    assert found[Kind.POPULATE].probes[0].registers == RANGE
    assert found[Kind.SECTION_ADD].probes[0].registers == PAGES
    assert found[Kind.ADD_PAGES].probes[0].registers == PAGES
    assert found[Kind.SECTION_REMOVE].probes[0].registers == ()


def renamed(root, old: str, new: str) -> None:
    path = root / "proc/kallsyms"
    path.write_text(path.read_text().replace(f" {old}\n", f" {new}\n"))


def test_a_function_with_changed_arguments_has_none_to_read(tmp_path):
    root = running(tmp_path, OLD, slide=0, btf=BTF_6_1)
    renamed(root, "sparse_add_section", "sparse_add_section.isra.0")
    ladder = climbed(root)[Kind.SECTION_ADD]
    probe = ladder.probes[0]
    assert probe.function == probe.entries[0].symbol == "sparse_add_section.isra.0"
    assert probe.entries[0].address == symbols(OLD)["sparse_add_section"][0]
    assert {probe.registers for probe in ladder.probes} == {()}
    assert [str(place) for place in rung(ladder, Rung.CALLSITE).entries] == ["__add_pages+0xac"]


def test_inlined_away_the_next_function_stands_in(tmp_path):
    root = running(tmp_path, NEW, btf=BTF_6_12)
    renamed(root, "sparse_remove_section", "other")
    probe = climbed(root)[Kind.SECTION_REMOVE].probes[0]
    assert (probe.function, probe.registers) == ("section_deactivate.isra.0", ())
    renamed(root, "section_deactivate.isra.0", "another")
    gone = climbed(root)[Kind.SECTION_REMOVE]
    assert gone.probes == ()
    assert set(dict(gone.impossible).values()) == {"inlined or absent in this kernel"}


ABSENT = "absent: this kernel has no such function (CONFIG_ZONE_DEVICE=n)"


def test_an_exported_function_that_is_not_listed_does_not_exist(tmp_path):
    # Debian's 6.1 for arm64 is built without ZONE_DEVICE
    root = running(tmp_path, OLD, slide=0, btf=BTF_6_1)
    renamed(root, "memremap_pages", "other")
    renamed(root, "memunmap_pages", "another")
    found = climbed(root)
    gone = [found[Kind.MEMREMAP], found[Kind.MEMUNMAP]]
    assert [(each.function, each.absent) for each in gone] == [
        ("memremap_pages", True),
        ("memunmap_pages", True),
    ]
    assert [(each.probes, each.impossible) for each in gone] == [((), ()), ((), ())]
    others = found.keys() - {Kind.MEMREMAP, Kind.MEMUNMAP, *REQUESTS}
    assert not any(found[kind].absent for kind in others)
    attach, tried = rejecting(*((Kind.POPULATE, rung) for rung in Rung))
    ends = {end.kind: end for end in climb(tuple(found.values()), attach, all_ends)}
    assert ends[Kind.MEMREMAP].how == ends[Kind.MEMUNMAP].how == ABSENT
    assert (ends[Kind.MEMREMAP].absent, ends[Kind.POPULATE].absent) == (True, False)
    assert not {Kind.MEMREMAP, Kind.MEMUNMAP} & {kind for kind, _ in tried}


def test_requests_for_regions_never_take_a_breakpoint(tmp_path):
    root = running(tmp_path, NEW, btf=BTF_6_12)
    with (root / "proc/kallsyms").open("a") as file:
        for at, name in enumerate(("request_free_mem_region", "devm_request_free_mem_region")):
            file.write(f"{0xFFFF800080700000 + SLIDE + 64 * at:016x} T {name}\n")
    found = climbed(root)
    one, devm = (found[kind] for kind in REQUESTS)
    assert [probe.rung for probe in (*one.probes, *devm.probes)] == [Rung.KPROBE, Rung.KPROBE]
    assert "few breakpoints" in why_not(one, Rung.BREAKPOINT)
    # (base, size, name) and (dev, base, size): kernel/resource.c since 5.3
    assert one.probes[0].registers == (("nr_pages", 1), ("site", 2))
    assert devm.probes[0].registers == (("nr_pages", 2),)
    assert one.probes[0].ret == devm.probes[0].ret == "pointer"


def test_requests_where_the_kernel_has_none(tmp_path):
    found = climbed(running(tmp_path, NEW, btf=BTF_6_12))
    attach, _ = rejecting()
    ends = {end.kind: end for end in climb(tuple(found.values()), attach, all_ends)}
    assert {ends[kind].how for kind in REQUESTS} == {
        "absent: this kernel has no such function (CONFIG_GET_FREE_REGION=n)"
    }


@pytest.mark.parametrize("how", ["hidden", "missing"])
def test_where_the_names_cannot_be_read_nothing_is_absent(tmp_path, how):
    root = running(tmp_path, OLD, slide=0, btf=BTF_6_1)
    renamed(root, "memremap_pages", "other")
    path = root / "proc/kallsyms"
    lines = path.read_text().splitlines()
    if how == "hidden":  # as kernel.kptr_restrict=2 shows them
        path.write_text("".join(f"{0:016x}{line[16:]}\n" for line in lines))
    else:
        path.unlink()
    ladder = climbed(root)[Kind.MEMREMAP]
    assert ladder.absent is False
    assert [probe.rung for probe in ladder.probes] == [Rung.KPROBE]


def test_a_static_function_that_is_not_listed_may_be_inlined(tmp_path):
    root = running(tmp_path, OLD, slide=0, btf=BTF_6_1)
    renamed(root, "__remove_pages", "other")
    ladder = climbed(root)[Kind.REMOVE_PAGES]
    assert ladder.absent is False
    assert set(dict(ladder.impossible).values()) == {"inlined or absent in this kernel"}


def test_a_caller_whose_name_is_not_unique_is_no_call_site(tmp_path):
    # a kprobe goes by name, and before b022f0c7e404 (6.7) takes the first of twins
    root = running(tmp_path, NEW, btf=BTF_6_12)
    with (root / "proc/kallsyms").open("a") as file:
        file.write(f"{0xFFFF800080700000 + SLIDE:016x} t __populate_section_memmap\n")
    path = root / "proc/kallsyms"
    path.write_text(path.read_text().replace("T __populate_sec", "t __populate_sec"))
    ladder = climbed(root)[Kind.POPULATE]
    at = f"0x{0xFFFF8000802758B4 + SLIDE:016x}"
    assert why_not(ladder, Rung.CALLSITE).startswith(f"a call to it is at {at}")
    assert rung(ladder, Rung.BREAKPOINT).timed is False


def test_without_kernel_text_entries_remain(tmp_path):
    ladder = climbed(running(tmp_path, OLD, slide=0, btf=BTF_6_1, core=False))[Kind.POPULATE]
    assert [probe.rung for probe in ladder.probes] == [Rung.KPROBE, Rung.BREAKPOINT]
    assert "kcore" in why_not(ladder, Rung.CALLSITE)
    assert ladder.probes[1].timed is False


def test_without_kallsyms_names_are_tried(tmp_path):
    root = running(tmp_path, OLD, slide=0, btf=BTF_6_1)
    (root / "proc/kallsyms").unlink()
    ladder = climbed(root)[Kind.POPULATE]
    assert [probe.rung for probe in ladder.probes] == [Rung.KPROBE]
    assert ladder.probes[0].entries == (ProbeAddress("vmemmap_populate", 0, 0),)
    assert ladder.probes[0].registers == RANGE
    assert "read /proc/kallsyms as root" in why_not(ladder, Rung.BREAKPOINT)


@pytest.mark.parametrize(
    ("first", "left"),
    [
        (Rung.KPROBE, [Rung.KPROBE, Rung.CALLSITE, Rung.BREAKPOINT]),
        (Rung.CALLSITE, [Rung.CALLSITE, Rung.BREAKPOINT]),
        (Rung.BREAKPOINT, [Rung.BREAKPOINT]),
        (Rung.DERIVED, []),
    ],
)
def test_a_forced_rung_leaves_out_those_above(tmp_path, first, left):
    found = climbed(running(tmp_path, NEW, btf=BTF_6_12), first=first)
    for kind in (Kind.POPULATE, Kind.SECTION_ADD):
        assert [probe.rung for probe in found[kind].probes] == left
        assert set(dict(found[kind].impossible).values()) <= {f"left out: --rung {first.value}"}
    assert found[Kind.FREE].probes[0].rung is Rung.KPROBE
    assert found[Kind.ADD_PAGES].probes[0].rung is Rung.KPROBE


# -- one rung, with calls no real kernel had -----------------------------------------------------

POPULATE = TABLE[0]
NAME = "vmemmap_populate"


@pytest.fixture
def known(tmp_path):
    found = read_kernel(tuple(KINDS), root=running(tmp_path, NEW, btf=BTF_6_12))
    yield found
    found.close()


CALL = 0xFFFF8000802758B4 + SLIDE


@pytest.mark.parametrize(
    ("calls", "reason", "timed"),
    [
        (Calls(), "no call instructions", False),
        (Calls((), (CALL,)), "no call instructions", False),  # nothing but tail calls
        (Calls((CALL,), (CALL + 16,)), "tail call", False),
        (Calls((CALL,), (), (CALL + 4,)), "also jumped to", False),
        (Calls(tuple(CALL + 16 * n for n in range(5))), "5 call instructions", False),
        (Calls((CALL, CALL + 16)), None, False),
        (Calls((CALL,)), None, True),
        (None, "not looked for", False),
    ],
)
def test_which_calls_can_do(known: RunningKernel, calls, reason, timed):
    site = RUNGS[Rung.CALLSITE](known, POPULATE, NAME, calls)
    stop = RUNGS[Rung.BREAKPOINT](known, POPULATE, NAME, calls)
    assert isinstance(stop, Probe)
    assert (stop.timed, bool(stop.exits)) == (timed, timed)
    if reason is None:
        assert isinstance(site, Probe)
        assert [place.address for place in site.entries] == list(calls.calls)
        assert [place.address for place in site.exits] == [va + 4 for va in calls.calls]
    else:
        assert reason in site


# -- the climb -----------------------------------------------------------------------------------


def rejecting(*refused: tuple[Kind, Rung], note: str | None = None):
    tried = []

    def attach(probe: Probe) -> str | None:
        tried.append((probe.kind, probe.rung))
        if (probe.kind, probe.rung) in refused:
            raise AttachError(f"no {probe.rung.value}")
        return note

    return attach, tried


def all_ends(_: Probe) -> str | None:
    return None


def test_the_climb_takes_the_first_that_attaches_and_keeps_the_reasons(tmp_path):
    every = tuple(climbed(running(tmp_path, NEW, btf=BTF_6_12)).values())
    attach, tried = rejecting((Kind.POPULATE, Rung.KPROBE), (Kind.POPULATE, Rung.CALLSITE))
    ends = {end.kind: end for end in climb(every, attach, all_ends)}
    assert [rung for kind, rung in tried if kind is Kind.POPULATE] == [
        Rung.KPROBE,
        Rung.CALLSITE,
        Rung.BREAKPOINT,
    ]
    assert ends[Kind.POPULATE].how == "breakpoint entry+return"
    assert ends[Kind.POPULATE].refused == (
        (Rung.KPROBE, "no kprobe"),
        (Rung.CALLSITE, "no callsite"),
    )
    assert [kind for kind, _ in tried].count(Kind.FREE) == 1
    assert ends[Kind.FREE].how == "kprobe entry+return"


def test_an_end_that_is_not_seen_is_not_claimed(tmp_path):
    every = tuple(climbed(running(tmp_path, NEW, btf=BTF_6_12)).values())
    attach, _ = rejecting(note="no slot for the end")
    (first, *_) = climb(every, attach, all_ends)
    assert first.probe is not None
    assert first.probe.timed is False
    assert first.how == "kprobe entry; no slot for the end"


@pytest.mark.parametrize("add_too", [False, True])
def test_populate_is_derived_only_from_what_is_seen(tmp_path, add_too):
    every = tuple(climbed(running(tmp_path, NEW, btf=BTF_6_12)).values())
    rungs = (Rung.KPROBE, Rung.CALLSITE, Rung.BREAKPOINT)
    refused = [(Kind.POPULATE, rung) for rung in rungs]
    refused += [(Kind.ADD_PAGES, rung) for rung in rungs if add_too]
    attach, _ = rejecting(*refused)
    ends = {end.kind: end for end in climb(every, attach, all_ends)}
    end = ends[Kind.POPULATE]
    assert end.probe is None
    assert end.derived is not add_too
    why = "kprobe: no kprobe; callsite: no callsite; breakpoint: no breakpoint"
    assert end.how == (f"no: {why}" if add_too else f"derived from __add_pages ({why})")


def test_what_a_lower_rung_could_not_is_no_matter(tmp_path):
    every = tuple(climbed(running(tmp_path, NEW, btf=BTF_6_12)).values())
    attach, _ = rejecting()
    assert {end.refused for end in climb(every, attach, all_ends)} == {()}
    # and where all are rejected, the reasons are in the order of the rungs
    attach, _ = rejecting(*((Kind.FREE, rung) for rung in Rung))
    (free,) = [end for end in climb(every, attach, all_ends) if end.kind is Kind.FREE]
    assert [rung for rung, _ in free.refused] == [Rung.KPROBE, Rung.CALLSITE, Rung.BREAKPOINT]


def test_a_rejection_names_notrace_where_the_kernels_own_list_does():
    probe = Probe(
        Kind.POPULATE, Rung.KPROBE, "vmemmap_populate", (ProbeAddress("vmemmap_populate", 0, 4),)
    )

    def reject(_: Probe) -> str | None:
        raise AttachError("Invalid argument")

    rungs = (Ladder(Kind.POPULATE, "vmemmap_populate", (probe,)),)
    (plain,) = climb(rungs, reject, all_ends)
    (explained,) = climb(rungs, reject, all_ends, {"vmemmap_populate": "notrace"})
    assert plain.refused == ((Rung.KPROBE, "Invalid argument"),)
    assert explained.refused == ((Rung.KPROBE, "Invalid argument (notrace)"),)


@pytest.mark.parametrize("slots", [3, 6, 9, 16])
def test_breakpoints_see_every_entry_before_any_end(tmp_path, slots):
    """As under lockdown=confidentiality with --vmlinux: breakpoints alone, and few of them."""
    every = tuple(climbed(running(tmp_path, NEW, btf=BTF_6_12)).values())
    watched: list[tuple[Kind, str]] = []

    def take(kind: Kind, what: str) -> str | None:
        if len(watched) == slots:
            return "no slot"
        watched.append((kind, what))
        return None

    def attach(probe: Probe) -> str | None:
        if probe.rung is not Rung.BREAKPOINT:
            raise AttachError("locked down")
        assert not probe.exits
        if why := take(probe.kind, "entry"):
            raise AttachError(why)
        return None

    ends = climb(every, attach, lambda probe: take(probe.kind, "end"))
    entries = [kind for kind, what in watched if what == "entry"]
    assert watched[: len(entries)] == [(kind, "entry") for kind in entries]
    assert len(entries) == min(slots, sum(bool(one.probes) for one in every))
    assert [end.kind for end in ends if end.probe] == entries
    timed = [end.kind for end in ends if end.probe and end.probe.timed]
    assert timed == [kind for kind, what in watched if what == "end"]
    could = [rung(one, Rung.BREAKPOINT).timed for one in every if one.kind in entries]
    assert len(timed) == min(slots - len(entries), sum(could))
    notes = [end.notes for end in ends if end.probe and end.notes]
    assert notes == [("entry only: no slot",)] * (sum(could) - len(timed))


# -- trampolines -----------------------------------------------------------------------------------


def test_trampolines_come_first_where_they_are_asked_for_and_btf_has_the_function(tmp_path):
    root = running(tmp_path, NEW, btf=BTF_6_12)
    found = climbed(root, first=Rung.FENTRY)
    for kind in (Kind.POPULATE, Kind.WARN, Kind.SECTION_REMOVE):
        probe = found[kind].probes[0]
        assert (probe.rung, probe.timed, probe.exits) == (Rung.FENTRY, True, ())
        assert probe.btf > 0
        plain = replace(probe, rung=Rung.KPROBE, btf=0)
        assert plain == found[kind].probes[1]  # as its entry kprobe but for the rung
    numbers = [ladder.probes[0].btf for ladder in found.values() if ladder.probes]
    assert len(set(numbers)) == len(numbers)
    assert all(
        probe.rung is not Rung.FENTRY for one in climbed(root).values() for probe in one.probes
    )


def test_without_btf_there_are_none_and_why_is_told(tmp_path):
    ladder = climbed(running(tmp_path, NEW), first=Rung.FENTRY)[Kind.POPULATE]
    assert ladder.probes[0].rung is Rung.KPROBE
    assert "No such file" in why_not(ladder, Rung.FENTRY)


def test_a_kernel_that_has_none_is_asked_once(tmp_path):
    every = tuple(climbed(running(tmp_path, NEW, btf=BTF_6_12), first=Rung.FENTRY).values())
    asked = []

    def attach(probe: Probe) -> str | None:
        if probe.rung is Rung.FENTRY:
            asked.append(probe.kind)
            raise NoSuchRungError("no trampolines")
        return None

    ends = [end for end in climb(every, attach, all_ends) if not end.absent]
    assert asked == [Kind.POPULATE]
    assert {end.probe.rung for end in ends} == {Rung.KPROBE}
    assert {end.refused for end in ends} == {((Rung.FENTRY, "no trampolines"),)}


def test_light_watches_addresses_by_entries_and_timing_what_is_timed(tmp_path):
    found = climbed(running(tmp_path, NEW, btf=BTF_6_12))
    light = {kind: one.for_watch(Watch.LIGHT) for kind, one in found.items()}
    for kind in (Kind.POPULATE, Kind.FREE, Kind.WARN):
        assert light[kind].probes
        assert not any(probe.timed or probe.exits for probe in light[kind].probes)
    assert light[Kind.ADD_PAGES] == found[Kind.ADD_PAGES]
    assert light[Kind.SECTION_ADD].probes == ()
    assert why_not(light[Kind.SECTION_ADD], Rung.KPROBE) == "left out: --light"
    timing = {kind: one.for_watch(Watch.TIMING) for kind, one in found.items()}
    assert timing[Kind.POPULATE].probes == timing[Kind.FREE].probes == ()
    assert timing[Kind.WARN] == found[Kind.WARN]
    ends = {end.kind: end for end in climb(tuple(timing.values()), lambda _: None, all_ends)}
    assert ends[Kind.POPULATE].derived
    assert ends[Kind.FREE].how == "no: kprobe: left out: --timing"
