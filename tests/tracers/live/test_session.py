"""A capture with an engine made for the test: what it says of what was and was not seen."""

import os
import time
from types import SimpleNamespace

import pyarrow as pa
import pytest

from tests.tracers.live.machines import BTF_6_12, running
from tracers.batch import Batch
from tracers.errors import VmemscopeError
from tracers.events import SCHEMA, Kind
from tracers.formulas import WindowError
from tracers.live import session, survey
from tracers.live.engine import AttachError, Counts, LiveError
from tracers.live.ladder import Attached
from tracers.live.points import Filters, Place, Probe, Rung
from tracers.live.session import Live, open_live
from tracers.machine import Machine
from tracers.window import Window

NEW = "lab-6.12.117-48bit-4k"
SECTION = 1 << 27 >> 12
#: NUMBER(VMEMMAP_START), NUMBER(VMEMMAP_END), NUMBER(PHYS_OFFSET) of the lab's 6.1.
WINDOW = Window(
    0xFFFFFFFE00000000,
    0xFFFFFFFF00000000,
    memstart=0x40000000,
    va_bits=39,
    page_size=4096,
    struct_page=64,
    section_size_bits=27,
)


class Fake:
    """An engine that has what it was given, and refuses what it was told to."""

    name = "fake"

    def __init__(self, *, refuse=(), batches=(), rest=None, counts=None, broken=None):
        self.refuse, self.batches, self.rest = refuse, list(batches), rest
        self.told = counts or Counts()
        self.broken = broken
        self.attached: list[Probe] = []
        self.done: list[str] = []

    def attach(self, probe):
        if self.broken:
            raise self.broken
        if self.refuse == "all" or (probe.kind, probe.rung) in self.refuse:
            raise AttachError("Operation not permitted")
        self.attached.append(probe)

    def start(self):
        self.done.append("start")

    def poll(self, timeout_s):
        assert timeout_s >= 0
        return self.batches.pop(0) if self.batches else None

    def stop(self):
        self.done.append("stop")
        return self.rest

    def counts(self):
        return self.told

    def close(self):
        self.done.append("close")


def batch(*rows: dict, lost: int = 0) -> Batch:
    base = dict.fromkeys(SCHEMA.names) | {"source": "kprobe", "tid": 7}
    whole = [base | {"ts_ns": ts, **row} for ts, row in enumerate(rows)]
    return Batch(pa.RecordBatch.from_pylist(whole, schema=SCHEMA), lost=lost)


ADD = {"kind": "add_pages", "phase": "entry", "pfn": 0x5000000, "nr_pages": 3 * SECTION}
ADDED = {"kind": "add_pages", "phase": "exit", "ret": 0}


def ends(*kinds: Kind, derived: bool = False) -> list[Attached]:
    seen = [
        Attached(kind, kind.label, Probe(kind, Rung.KPROBE, kind.label, (Place("f", 0, 0),)))
        for kind in kinds
    ]
    refused = ((Rung.KPROBE, "notrace"),)
    return [
        *seen,
        *[Attached(Kind.POPULATE, "vmemmap_populate", None, refused, (), True)][:derived],
    ]


# -- what comes out of it ------------------------------------------------------------------------


def test_populate_calls_nobody_could_see_are_derived():
    engine = Fake(batches=[batch(ADD), batch(ADDED, lost=5)])
    live = Live(engine, ends(Kind.ADD_PAGES, derived=True), Machine(window=WINDOW))
    assert live.probes["vmemmap_populate"] == "derived from __add_pages (kprobe: notrace)"
    live.start()
    first, second = live.poll(0.1), live.poll(0.1)
    assert first is not None
    assert first.events.num_rows == 1
    assert second is not None
    assert second.lost == 5
    rows = second.events.to_pylist()
    assert [row["kind"] for row in rows] == ["populate"] * 3 + ["add_pages"]
    assert {row["source"] for row in rows[:3]} == {"derived"}
    # 3 sections of 128 MiB from 320 GiB on; VMEMMAP_START + (pfn - (0x40000000 >> 12)) * 64
    assert [row["start"] for row in rows[:3]] == [
        (0xFFFFFFFE00000000 + (0x5000000 + n * 32768 - 0x40000) * 64) % 2**64 for n in range(3)
    ]
    assert live.poll(0) is None


def test_observed_calls_are_left_as_they_are():
    given = batch(ADD, ADDED)
    live = Live(Fake(batches=[given]), ends(Kind.ADD_PAGES, Kind.POPULATE), Machine(window=WINDOW))
    assert live.poll(0) is given


def test_what_was_under_way_is_derived_from_too():
    live = Live(
        Fake(batches=[batch(ADD)], rest=batch(ADDED)),
        ends(Kind.ADD_PAGES, derived=True),
        Machine(window=WINDOW),
    )
    live.poll(0)
    (rest,) = live.stop()
    assert rest.events["kind"].to_pylist().count("populate") == 3
    assert live.closing() == ()


def test_an_operation_that_never_returned_is_told_at_the_end():
    live = Live(
        Fake(batches=[batch(ADD)]), ends(Kind.ADD_PAGES, derived=True), Machine(window=WINDOW)
    )
    live.poll(0)
    assert list(live.stop()) == []
    (told,) = live.closing()
    assert "3 sections are unknown" in told


@pytest.mark.parametrize(
    ("counts", "lost"),
    [
        (Counts(warns=256, reported=256), []),
        (Counts(warns=250, reported=256), [6]),
        (Counts(warns=250, reported=256, lost={("vmemmap_free", 0): 0}), [6]),
        # where something was lost anyway, that may be the difference
        (Counts(warns=250, reported=256, lost={("__warn", 0): 2, ("__warn", 1): 3}), []),
        (Counts(warns=250, reported=256, lost={("__warn", 0): 6}), []),
        (Counts(warns=256, reported=255), []),  # the second one missed some: no loss of ours
        (Counts(warns=250, other_warns=6, reported=250, other_reported=9), []),
        (Counts(warns=None, reported=256), []),
        (Counts(warns=256, reported=None), []),
    ],
)
def test_a_warn_that_only_the_second_witness_saw_is_a_loss(counts, lost):
    live = Live(Fake(counts=counts), ends(Kind.WARN), Machine())
    batches = list(live.stop())
    assert [each.lost for each in batches] == lost
    assert all(each.events.num_rows == 0 and each.events.schema == SCHEMA for each in batches)


def test_with_a_filter_the_witnesses_count_different_things():
    live = Live(Fake(counts=Counts(warns=1, reported=9)), ends(Kind.WARN), Machine(), filtered=True)
    assert list(live.stop()) == []


def test_the_closing_sentences(tmp_path):
    counter = tmp_path / "sys/kernel/warn_count"
    counter.parent.mkdir(parents=True)
    counter.write_text("40\n")
    counts = Counts(
        lost={("vmemmap_free", 1): 7, ("vmemmap_free", 0): 2, ("__warn", 0): 0},
        missed_returns={"__add_pages": 3, "__warn": 0},
        warns=256,
        other_warns=2,
        reported=256,
        other_reported=0,
    )
    live = Live(Fake(counts=counts), ends(Kind.WARN), Machine(), root=tmp_path)
    live.start()
    counter.write_text("298\n")
    assert list(live.stop()) == []
    assert live.closing() == (
        "lost 2 events of vmemmap_free on cpu 0",
        "lost 7 events of vmemmap_free on cpu 1",
        "3 returns of __add_pages were missed: no free kretprobe instance",
        "WARNs by witness: __warn 256 (and 2 elsewhere), error_report_end 256, warn_count 258",
    )


def test_without_witnesses_nothing_is_said(tmp_path):
    live = Live(Fake(), ends(Kind.FREE), Machine(), root=tmp_path)
    live.start()
    assert list(live.stop()) == []
    assert live.closing() == ()


@pytest.mark.parametrize("content", ["", "many\n"])
def test_an_odd_warn_count_is_no_witness(tmp_path, content):
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/warn_count").write_text(content)
    live = Live(Fake(), ends(Kind.WARN), Machine(), root=tmp_path)
    live.start()
    list(live.stop())
    assert live.closing() == ()


def test_the_clock_leads_to_the_time_of_day():
    live = Live(Fake(), ends(Kind.FREE), Machine())
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + live.clock["offset_ns"]
    assert abs(now - time.time_ns()) < 3600 * 10**9
    assert live.clock["name"] == "mono"


def test_it_closes_its_engine_whatever_happens():
    engine = Fake()
    live = Live(engine, ends(Kind.FREE), Machine())

    def broken():
        with live:
            live.start()
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert engine.done == ["start", "close"]


# -- opening -------------------------------------------------------------------------------------


@pytest.fixture
def fakes(monkeypatch):
    """Engines by name; each value is an engine, or why there is none."""
    made: dict[str, object] = {"bcc": Fake(), "tracefs": Fake()}
    asked: dict[str, tuple] = {}

    def opener(name):
        def build(filters, ours, root):
            asked[name] = (filters, ours, root)
            if isinstance(made[name], Exception):
                raise made[name]
            return made[name]

        return build

    monkeypatch.setattr(session, "_OPENERS", {name: opener(name) for name in made})
    return SimpleNamespace(made=made, asked=asked)


@pytest.fixture
def arm64(monkeypatch, tmp_path):
    own = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*own[:4], "aarch64")))
    return running(tmp_path, NEW, btf=BTF_6_12)


def test_a_capture_of_a_whole_machine(arm64, fakes):
    with open_live(root=arm64) as live:
        assert live.origin == {"live": "fake"}
        assert live.probes == {
            "vmemmap_populate": "kprobe entry+return",
            "vmemmap_free": "kprobe entry+return",
            "sparse_add_section": "kprobe entry+return",
            "sparse_remove_section": "kprobe entry+return",
            "__warn": "kprobe entry+return",
            "__add_pages": "kprobe entry+return",
            "__remove_pages": "kprobe entry+return",
            "memremap_pages": "kprobe entry+return",
            "memunmap_pages": "kprobe entry+return",
        }
        assert live.notes == ()
        # ours: where the slid vmemmap_free lies, as objdump and /proc/kallsyms have it
        (_, ours, _) = fakes.asked["bcc"]
        at = next(
            int(line[:16], 16)
            for line in (arm64 / "proc/kallsyms").read_text().splitlines()
            if line.endswith(" vmemmap_free")
        )
        assert any(first == at < end for first, end in ours)
        assert not any(first <= at - 0x21BEB3800000 < end for first, end in ours)
    assert fakes.made["bcc"].done == ["close"]
    assert "tracefs" not in fakes.asked


def test_what_was_refused_is_in_the_notes(arm64, fakes):
    rungs = (Rung.KPROBE, Rung.CALLSITE, Rung.BREAKPOINT)
    fakes.made["bcc"] = Fake(
        refuse=[(Kind.SECTION_ADD, Rung.KPROBE), *((Kind.POPULATE, rung) for rung in rungs)]
    )
    live = open_live(root=arm64)
    assert live.probes["sparse_add_section"] == "callsite entry+return (bl at __add_pages+0xa8)"
    assert live.probes["vmemmap_populate"].startswith("derived from __add_pages (kprobe: Operation")
    assert live.notes == ("sparse_add_section: kprobe: Operation not permitted",)


def test_a_function_that_is_not_there_is_said_so_in_the_header(arm64, fakes):
    path = arm64 / "proc/kallsyms"
    path.write_text(path.read_text().replace(" memremap_pages\n", " other\n"))
    live = open_live(root=arm64)
    assert live.probes["memremap_pages"] == (
        "absent: this kernel has no such function (CONFIG_ZONE_DEVICE=n)"
    )
    assert live.probes["memunmap_pages"] == "kprobe entry+return"
    assert live.notes == ()


def test_auto_falls_to_the_next_engine_and_says_why(arm64, fakes):
    fakes.made["bcc"] = LiveError("no module bcc: apt install python3-bpfcc")
    live = open_live(root=arm64)
    assert live.notes == ("engine bcc: no module bcc: apt install python3-bpfcc",)
    assert fakes.made["tracefs"].attached


def test_an_engine_asked_for_by_name_is_that_or_nothing(arm64, fakes):
    fakes.made["bcc"] = LiveError("no module bcc")
    with pytest.raises(LiveError, match=r"^no module bcc$"):
        open_live(engine="bcc", root=arm64)
    assert "tracefs" not in fakes.asked
    open_live(engine="tracefs", root=arm64)
    with pytest.raises(LiveError, match="auto, bcc, tracefs"):
        open_live(engine="dtrace", root=arm64)


def test_no_engine_at_all_tells_of_each(arm64, fakes):
    fakes.made |= {"bcc": LiveError("no headers"), "tracefs": LiveError("not root")}
    with pytest.raises(LiveError, match="engine bcc: no headers; engine tracefs: not root"):
        open_live(root=arm64)


@pytest.mark.parametrize("first", list(Rung))
def test_every_probe_refused_is_an_error_with_the_kernels_reason(arm64, fakes, first):
    fakes.made |= {"bcc": Fake(refuse="all"), "tracefs": Fake(refuse="all")}
    for engine in ("bcc", "auto"):
        with pytest.raises(LiveError, match=r"Operation not permitted.*doctor") as caught:
            open_live(engine=engine, root=arm64, first=first)
        assert "left out" not in str(caught.value)
        assert "\n" not in str(caught.value)
    assert fakes.made["bcc"].done == ["close", "close"]
    assert fakes.made["tracefs"].done == ["close"]


def test_an_engine_that_may_attach_nothing_gives_way_to_the_next(arm64, fakes):
    fakes.made["bcc"] = Fake(refuse="all")
    live = open_live(root=arm64)
    assert fakes.made["bcc"].done == ["close"]
    assert fakes.made["tracefs"].attached
    assert live.notes[0].startswith("engine bcc: the kernel refused every probe (")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a bug"), LiveError("gone")])
def test_a_climb_that_breaks_leaves_nothing_behind(arm64, fakes, error):
    fakes.made["bcc"] = Fake(broken=error)
    with pytest.raises(type(error)):
        open_live(engine="bcc", root=arm64)
    assert fakes.made["bcc"].done == ["close"]


def test_hits_only_without_a_window_is_refused(fakes, tmp_path):
    with pytest.raises(LiveError, match=r"window is not known.*doctor"):
        open_live(hits_only=True, root=tmp_path)
    assert fakes.asked == {}


def test_filters_are_handed_on_and_noted(arm64, fakes, monkeypatch):
    known = SimpleNamespace(
        machine=lambda: Machine(window=WINDOW), warn_sites=(), probeable={}, missing={}
    )
    monkeypatch.setattr(survey, "gather", lambda *_, **__: known)
    counts = Counts(warns=1, reported=2)
    fakes.made["bcc"] = Fake(counts=counts)
    live = open_live(root=arm64, filters=Filters(pid=12, comm="insmod"), hits_only=True)
    assert fakes.asked["bcc"][0] == Filters(12, "insmod", (0xFFFFFFFE00000000, 0xFFFFFFFF00000000))
    assert live.origin == {"live": "fake", "pid": "12", "comm": "insmod", "hits-only": "yes"}
    assert list(live.stop()) == []
    # hits only leaves every WARN in: its witnesses are still compared
    live = open_live(root=arm64, hits_only=True)
    assert [each.lost for each in live.stop()] == [1]


def test_on_x86_64_what_needs_no_arm64_is_attached(fakes, monkeypatch, tmp_path):
    own = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*own[:4], "x86_64")))
    live = open_live(root=running(tmp_path, NEW))
    assert (live.machine.arch, live.machine.release) == ("x86_64", own.release)
    assert live.machine.window is None
    assert any("the window is not known: this machine runs x86_64" in note for note in live.notes)
    assert live.probes["__add_pages"] == "kprobe entry+return"
    assert fakes.asked["bcc"][1] == ((0, 2**64 - 1),)  # no code known: all WARNs are told


def test_a_window_without_a_section_size_is_no_reason_to_fail():
    vague = Window(0xFFFFFFFE00000000, 0xFFFFFFFF00000000)
    with pytest.raises(WindowError):
        _ = vague.section_pages
    live = Live(
        Fake(batches=[batch(ADD), batch(ADDED)]),
        ends(Kind.ADD_PAGES, derived=True),
        Machine(window=vague),
    )
    live.poll(0)
    second = live.poll(0)
    assert second is not None
    assert second.events.num_rows == 1
    assert "the section size is not known" in live.closing()[0]


def test_a_bad_vmlinux_is_an_error_of_ours_before_any_engine(arm64, fakes):
    (arm64 / "vmlinux").write_bytes(b"no kernel")
    with pytest.raises(VmemscopeError, match="vmlinux"):
        open_live(vmlinux=arm64 / "vmlinux", root=arm64)
    assert fakes.asked == {}
