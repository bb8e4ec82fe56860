# SPDX-License-Identifier: GPL-2.0-only
"""open_live with fake engines: which engine it takes, and what its notes say."""

import os
from types import SimpleNamespace

import pytest

from tests.tracers.live.fakes import WINDOW, Fake
from tests.tracers.live.machines import BTF_6_12, running
from tracers.errors import VmemscopeError
from tracers.events import Kind
from tracers.live import session
from tracers.live.probes import survey
from tracers.live.probes.calibration import RungCost
from tracers.live.probes.engine import Counts, LiveError
from tracers.live.probes.points import Filters, Probe, Rung
from tracers.live.session import open_live
from tracers.machine import Machine
from tracers.window import Window

NEW = "lab-6.12.117-48bit-4k"


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
        none = "absent: this kernel has no such function (CONFIG_GET_FREE_REGION=n)"
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
            "request_free_mem_region": none,
            "devm_request_free_mem_region": none,
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


def test_what_was_rejected_is_in_the_notes(arm64, fakes):
    rungs = (Rung.KPROBE, Rung.CALLSITE, Rung.BREAKPOINT)
    fakes.made["bcc"] = Fake(
        refuse=[(Kind.SECTION_ADD, Rung.KPROBE), *((Kind.POPULATE, rung) for rung in rungs)]
    )
    live = open_live(root=arm64)
    assert live.probes["sparse_add_section"] == "callsite entry+return (bl at __add_pages+0xa8)"
    assert live.probes["vmemmap_populate"].startswith("derived from __add_pages (kprobe: Operation")
    assert live.notes == ("sparse_add_section: kprobe: Operation not permitted",)


def test_the_header_says_which_function_is_absent(arm64, fakes):
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
    with pytest.raises(LiveError, match="auto, bcc, tracefs, kmsg"):
        open_live(engine="dtrace", root=arm64)


def test_no_engine_at_all_tells_of_each(arm64, fakes):
    fakes.made |= {"bcc": LiveError("no headers"), "tracefs": LiveError("not root")}
    with pytest.raises(LiveError, match="engine bcc: no headers; engine tracefs: not root"):
        open_live(root=arm64)


@pytest.mark.parametrize("first", list(Rung))
def test_every_probe_rejected_is_an_error_with_the_kernels_reason(arm64, fakes, first):
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


def test_hits_only_without_a_window_is_rejected(fakes, tmp_path):
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
    assert [each.losses.lost for each in live.stop()] == [1]


def test_on_x86_64_what_needs_no_arm64_is_attached(fakes, monkeypatch, tmp_path):
    own = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*own[:4], "x86_64")))
    live = open_live(root=running(tmp_path, NEW))
    assert (live.machine.arch, live.machine.release) == ("x86_64", own.release)
    assert live.machine.window is None
    assert any("the window is not known: this machine runs x86_64" in note for note in live.notes)
    assert live.probes["__add_pages"] == "kprobe entry+return"
    assert fakes.asked["bcc"][1] == ((0, 2**64 - 1),)  # no code known: all WARNs are rows


def test_a_bad_vmlinux_is_an_error_of_ours_before_any_engine(arm64, fakes):
    (arm64 / "vmlinux").write_bytes(b"no kernel")
    with pytest.raises(VmemscopeError, match="vmlinux"):
        open_live(vmlinux=arm64 / "vmlinux", root=arm64)
    assert fakes.asked == {}


@pytest.mark.parametrize("bits", [48, None])
def test_hits_only_keeps_what_is_out_of_the_window_in_use(arm64, fakes, monkeypatch, bits):
    """A 52-bit kernel on 48 bits, or it is not known: what the WARN lets pass is kept."""
    window = Window(
        0xFFFFFC1FC0000000,
        0xFFFFFFFFC0000000,
        va_bits=52,
        page_size=65536,
        struct_page=64,
        vabits_actual=bits,
    )
    known = SimpleNamespace(
        machine=lambda: Machine(window=window), warn_sites=(), probeable={}, missing={}
    )
    monkeypatch.setattr(survey, "gather", lambda *_, **__: known)
    open_live(root=arm64, hits_only=True)
    assert fakes.asked["bcc"][0].window == (0xFFFFFFDFC0000000, 0xFFFFFFFFC0000000)


# -- the kernel log, which attaches nothing ------------------------------------------------------


@pytest.fixture
def logged(arm64):
    """The same machine, whose kernel log can be read."""
    (arm64 / "dev").mkdir(exist_ok=True)
    (arm64 / "dev/kmsg").write_text("6,0,0,-;Booting Linux on physical CPU 0x0000000000\n")
    return arm64


def test_auto_takes_the_kernel_log_last_and_says_why(logged, fakes):
    fakes.made |= {"bcc": LiveError("no BCC"), "tracefs": LiveError("locked down")}
    with open_live(root=logged) as live:
        assert live.origin == {"live": "kmsg"}
        assert live.notes[:2] == ("engine bcc: no BCC", "engine tracefs: locked down")
        assert live.machine.window is not None  # of the survey, as with the others
        assert {name: how.partition(":")[0] for name, how in live.probes.items()} == {
            "vmemmap_populate": "log",
            "vmemmap_free": "log",
            "__warn": "log",
            **dict.fromkeys(
                (
                    *("sparse_add_section", "sparse_remove_section", "__add_pages"),
                    *("__remove_pages", "memremap_pages", "memunmap_pages"),
                    *("request_free_mem_region", "devm_request_free_mem_region"),
                ),
                "no",
            ),
        }


def test_where_probes_work_auto_leaves_the_log_alone(logged, fakes):
    fakes.made["bcc"] = LiveError("no BCC")
    assert open_live(root=logged).origin == {"live": "fake"}


@pytest.mark.parametrize("filters", [Filters(pid=1), Filters(comm="insmod")])
def test_the_log_is_of_all_threads(logged, fakes, filters):
    with pytest.raises(LiveError, match="leave out --pid and --comm"):
        open_live(engine="kmsg", root=logged, filters=filters)
    fakes.made |= {"bcc": LiveError("no BCC"), "tracefs": LiveError("locked down")}
    with pytest.raises(LiveError, match="engine tracefs: locked down; engine kmsg: the kernel log"):
        open_live(root=logged, filters=filters)


def test_the_running_kernels_code_tells_the_registers(logged, fakes):
    """Of the machine's kcore: which registers hold start and end at each WARN."""
    with open_live(engine="kmsg", root=logged) as live:
        known = live._arguments()
    assert {function for function, _ in known.warns} == {"vmemmap_populate", "vmemmap_free"}


def test_without_its_code_arithmetic_is_left(logged, fakes):
    (logged / "proc/kcore").unlink()
    with open_live(engine="kmsg", root=logged) as live:
        assert live._arguments() is None
        live.start()
        assert list(live.stop()) == []


def test_the_log_of_another_architecture_is_of_no_use(logged, fakes, monkeypatch):
    own = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*own[:4], "x86_64")))
    with pytest.raises(LiveError, match="this machine runs x86_64: the window's WARN is arm64's"):
        open_live(engine="kmsg", root=logged)


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({}, True),
        ({"hits_only": True}, False),
        ({"filters": Filters(pid=12)}, False),
        ({"filters": Filters(comm="insmod")}, False),
    ],
)
def test_where_calls_are_left_out_nobody_knows_what_watching_cost(
    arm64, fakes, monkeypatch, options, known
):
    """The kernel drops calls whose probes were hit all the same: how many is not recorded."""

    def calibrate(_, probes):
        return {rung: RungCost(10_000, 4_000, 2_000) for rung in probes}

    tried = {Rung.KPROBE: Probe(Kind.SECTION_ADD, Rung.KPROBE, "getppid", ())}
    monkeypatch.setattr("tracers.live.probes.survey.harmless", lambda _: tried)
    monkeypatch.setattr("tracers.live.probes.calibration.calibrate", calibrate)
    assert bool(open_live(root=arm64, **options).observer) is known
