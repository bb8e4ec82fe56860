# SPDX-License-Identifier: GPL-2.0-only
"""Engine bcc with a fake BCC and a fake kernel: slots, sites, losses, missed returns."""

import ctypes
import mmap
import os
import struct
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.tracers.live.standins import LibraryFunction
from tracers.events import Kind, Phase
from tracers.live.bcc import engine as module
from tracers.live.bcc import trampolines
from tracers.live.bcc.engine import TALLY, BccEngine
from tracers.live.bcc.program import SLOT_MARK, SLOTS
from tracers.live.probes.engine import AttachError, NoSuchRungError
from tracers.live.probes.points import Filters, Probe, ProbeAddress, Rung
from tracers.live.records import RAW

RING = 1 << 16
FILE = 0xFFFFFFC008A00000  # where the kernel has the name of a source file
ENTRY, EXIT = Phase.ENTRY, Phase.EXIT


class Kernel:
    """What the engine calls of libbcc, and the perf events it opens."""

    def __init__(self, path) -> None:
        path.write_bytes(bytes(2 * mmap.PAGESIZE + 2 * RING))
        self.file = path.open("r+b")
        self.memory = mmap.mmap(self.file.fileno(), 0)
        self.fds = {"ring": self.file.fileno(), "control": -2, "tallies": -3, "files": -4}
        self.tallies = np.zeros(3, TALLY)
        self.control = b""
        self.opened: list[tuple[str, bool]] = []
        self.rejects = ""
        self.produced = 0
        self.cleaned = self.emptied = 0
        #: What BCC compiled a function to: r1 = the mark; exit.
        self.code = ctypes.create_string_buffer(struct.pack("<BBhiQ", 0xB7, 1, 0, SLOT_MARK, 0x95))
        self.loaded: list[tuple[str, int, bytes, int]] = []
        self.bcc_func_load = LibraryFunction(self.load, 12)
        self.module, self.KPROBE, self.PERF_EVENT, self.TRACEPOINT = 0, 2, 7, 5

    def bpf_table_fd(self, module, name):
        return self.fds[name.decode()]

    def bpf_update_elem(self, fd, key, value, flags):
        if fd == self.fds["tallies"]:
            self.emptied += not any(bytes(value))
            return 0
        self.control = ctypes.string_at(value, 8 + 8 * SLOTS)
        return 0

    def bpf_lookup_elem(self, fd, key, memory):
        if fd == self.fds["files"]:
            if key._obj.value != FILE:
                return -1
            memory.value = b"arch/arm64/mm/mmu.c"
            return 0
        ctypes.memmove(memory, self.tallies.tobytes(), self.tallies.nbytes)
        return 0

    def bpf_function_start(self, module, name):
        return ctypes.addressof(self.code)

    def bpf_function_size(self, module, name):
        return 16

    def bpf_module_license(self, module):
        return b"GPL"

    def bpf_module_kern_version(self, module):
        return 0

    def load(self, module, kind, name, code, size, *more):
        fd = os.open(os.devnull, os.O_RDONLY)
        self.loaded.append((name.decode(), kind, bytes(code), fd))
        return fd

    def cleanup(self):
        self.cleaned += 1

    def open(self, place, *, returns, program):
        if place.symbol == self.rejects and not returns:
            raise AttachError("rejected")
        self.opened.append((str(place), returns))
        return os.open(os.devnull, os.O_RDONLY)

    def send(self, *records):
        """Put records of (probe, phase, tid, args) into the ring."""
        for probe, phase, tid, *args in records:
            record = np.zeros(1, RAW)
            record["probe"], record["phase"], record["tid"], record["known"] = probe, phase, tid, 7
            record["site"], record["args"][0, : len(args)] = -1, args
            at = 2 * mmap.PAGESIZE + self.produced
            self.memory[at : at + 88] = struct.pack("<II", 80, 0) + record.tobytes()
            self.produced += 88
        self.memory[mmap.PAGESIZE : mmap.PAGESIZE + 8] = struct.pack("<Q", self.produced)


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    made = Kernel(tmp_path / "ring")
    monkeypatch.setattr(module, "find_bcc", lambda root: SimpleNamespace(__name__="fake", BPF=None))
    monkeypatch.setitem(sys.modules, "fake.libbcc", SimpleNamespace(lib=made))
    monkeypatch.setattr(module, "compile_program", lambda bpf, text: made)
    monkeypatch.setattr(module, "Kprobes", lambda root, cpu: made)
    monkeypatch.setattr(module, "open_tracepoint", lambda *_: os.open(os.devnull, os.O_RDONLY))
    cpu = tmp_path / "sys/devices/system/cpu"
    cpu.mkdir(parents=True)
    (cpu / "online").write_text("0-1\n")
    (cpu / "possible").write_text("0-1,6\n")
    made.root = tmp_path
    yield made
    made.memory.close()
    made.file.close()


def probe(kind: Kind, name: str, registers=(), **more) -> Probe:
    return Probe(kind, Rung.KPROBE, name, (ProbeAddress(name, 0, 0x1000),), (), registers, **more)


WARN = probe(Kind.WARN, "__warn", (("site", 0), ("line", 1), ("caller", 2)))
FREE = probe(Kind.FREE, "vmemmap_free", (("start", 0), ("end", 1)))
SECTION = Probe(
    Kind.SECTION_ADD,
    Rung.CALLSITE,
    "sparse_add_section",
    (ProbeAddress("__add_pages", 0xAC, 0x20AC),),
    (ProbeAddress("__add_pages", 0xB0, 0x20B0),),
    (("nid", 0), ("pfn", 1), ("nr_pages", 2)),
    "int",
)


def slot(kernel: Kernel, number: int) -> tuple[int, ...]:
    return struct.unpack_from("<H6B", kernel.control, 8 + 8 * number)


def test_what_is_opened_and_how_the_program_is_set_up(kernel) -> None:
    engine = BccEngine(kernel.root, filters=Filters(window=(1, 2)), ring_bytes=RING)
    assert [engine.attach(each) for each in (FREE, WARN, SECTION)] == [None, None, None]
    assert kernel.opened == [
        ("vmemmap_free", True),  # the return first: no entry shall lack its exit
        ("vmemmap_free", False),
        ("__warn", True),
        ("__warn", False),
        ("__add_pages+0xb0", False),
        ("__add_pages+0xac", False),
    ]
    assert slot(kernel, 1) == (0, 1, 0, 1, 255, 255, 0)  # probe, window, start, end, file, caller
    assert slot(kernel, 0) == (1, 0, 255, 255, 0, 2, 0)
    assert slot(kernel, 2) == (2, 0, 255, 255, 255, 255, 0)
    assert kernel.control[:8] == bytes(8)
    engine.start()
    assert kernel.control[:8] == struct.pack("<Q", 1)
    engine.stop()
    assert kernel.control[:8] == bytes(8)
    engine.close()
    engine.close()
    assert kernel.cleaned == 1


def test_a_rejected_probe_leaves_nothing_and_its_slot_is_free(kernel) -> None:
    engine = BccEngine(kernel.root, ring_bytes=RING)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    kernel.rejects = "vmemmap_free"
    with pytest.raises(AttachError):
        engine.attach(FREE)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
    engine.attach(SECTION)
    assert slot(kernel, 1)[0] == 0
    engine.close()


def test_a_second_warn_probe_and_one_probe_too_many_are_rejected(kernel) -> None:
    engine = BccEngine(kernel.root, ring_bytes=RING)
    engine.attach(WARN)
    with pytest.raises(AttachError):
        engine.attach(WARN)
    for _ in range(SLOTS - 1):
        engine.attach(FREE)
    with pytest.raises(AttachError):
        engine.attach(FREE)
    engine.close()


def test_rows_with_sites_of_warns(kernel) -> None:
    engine = BccEngine(kernel.root, ring_bytes=RING)
    engine.attach(FREE)
    engine.attach(WARN)
    kernel.send((0, ENTRY, 5, 2**64 - 4096, 0), (1, ENTRY, 5, FILE, 1268, 99))
    kernel.send((1, EXIT, 5, 7), (1, ENTRY, 6, 0xDEAD, 12, 99), (0, EXIT, 5))
    batch = engine.poll(0)
    assert batch is not None
    rows = batch.events.to_pylist()
    fields = [(r["kind"], r["phase"], r["start"], r["site"], r["line"], r["tid"]) for r in rows]
    assert fields == [
        ("free", "entry", 2**64 - 4096, None, None, 5),
        ("warn", "entry", None, "arch/arm64/mm/mmu.c", 1268, 5),
        ("warn", "exit", None, None, None, 5),
        ("warn", "entry", None, None, 12, 6),  # a name the program could not keep
        ("free", "exit", None, None, None, 5),
    ]
    assert engine.poll(0) is None
    engine.close()


def test_losses_come_once_with_the_poll_that_notices_them(kernel) -> None:
    engine = BccEngine(kernel.root, ring_bytes=RING)
    engine.attach(FREE)
    kernel.tallies["lost"][2, 1] = 5  # the third of CPUs 0, 1 and 6
    kernel.tallies["lost"][0, 1] = 2
    batch = engine.poll(0)
    assert batch is not None
    assert (batch.losses.lost, batch.events.num_rows) == (7, 0)
    assert engine.poll(0) is None
    kernel.tallies["lost"][2, 1] = 6
    last = engine.stop()
    assert last is not None
    assert last.losses.lost == 1
    engine.close()
    assert engine.counts().lost == {("vmemmap_free", 6): 6, ("vmemmap_free", 0): 2}


def test_returns_are_missed_where_no_call_is_under_way(kernel) -> None:
    engine = BccEngine(kernel.root, ring_bytes=RING)
    engine.attach(FREE)
    kernel.send((0, ENTRY, 5), (0, ENTRY, 5), (0, EXIT, 5), (0, ENTRY, 6))
    kernel.tallies["entries"][0, 1] = 3
    kernel.tallies["exits"][1, 1] = 1
    engine.poll(0)
    assert engine.counts().missed_returns == {"vmemmap_free": 1}  # and thread 6 is inside
    engine.close()


def test_witnesses_are_none_where_nobody_asked(kernel, monkeypatch) -> None:
    kernel.tallies["warns"][:] = 2
    kernel.tallies["other_reported"][:] = 1
    engine = BccEngine(kernel.root, ring_bytes=RING)
    assert (engine.counts().warns, engine.counts().other_reported) == (None, 3)
    engine.attach(WARN)
    assert (engine.counts().warns, engine.counts().reported) == (6, 0)
    engine.close()
    monkeypatch.setattr(module, "open_tracepoint", lambda *_: None)
    engine = BccEngine(kernel.root, ring_bytes=RING)
    assert engine.counts().reported is None
    engine.close()


def test_a_breakpoint_s_end_is_added_or_leaves_nothing(kernel, monkeypatch):
    slots = 3 * 2  # each on two CPUs
    opened = []

    def open_breakpoint(target, cpu, program):
        del program
        if len(opened) == slots:
            raise AttachError("all breakpoint slots of the CPU are taken (ENOSPC)")
        opened.append((target.address, cpu))
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(module, "open_breakpoint", open_breakpoint)
    monkeypatch.setattr(module, "check_stepping", lambda program: None)
    engine = BccEngine(kernel.root, ring_bytes=RING)
    wanted = [
        replace(SECTION, rung=Rung.BREAKPOINT, kind=kind, entries=(ProbeAddress(name, 0, at),))
        for kind, name, at in ((Kind.SECTION_ADD, "a", 0x10), (Kind.ADD_PAGES, "b", 0x20))
    ]
    for one in wanted:
        assert engine.attach(replace(one, timed=False, exits=())) is None
    assert engine.watch_ends(wanted[0]) is None
    assert "ENOSPC" in engine.watch_ends(wanted[1])
    assert opened == [(at, cpu) for at in (0x10, 0x20, 0x20B0) for cpu in (0, 1)]
    assert [each.timed for each in engine._probes] == [True, False]
    name, _, _, fd = kernel.loaded[-1]
    assert name == "at_exit"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    engine.close()


# -- trampolines, trials -------------------------------------------------------------------------


@pytest.fixture
def bpf(kernel, monkeypatch):
    """What the system call was given."""
    calls = []

    def call(command, attribute):
        calls.append((command, attribute))
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(trampolines, "call", call)
    return calls


def test_a_trampoline_is_loaded_for_the_functions_type_its_return_first(kernel, bpf) -> None:
    engine = BccEngine(kernel.root, ring_bytes=RING)
    assert engine.attach(replace(FREE, rung=Rung.FENTRY, btf=4711)) is None
    commands = [command for command, _ in bpf]
    assert commands == [5, 17, 5, 17]  # BPF_PROG_LOAD, BPF_RAW_TRACEPOINT_OPEN
    loads = [attribute for command, attribute in bpf if command == 5]
    # include/uapi/linux/bpf.h: prog_type, insn_cnt; expected_attach_type; attach_btf_id
    assert [struct.unpack_from("<II", load) for load in loads] == [(26, 2), (26, 2)]
    assert [struct.unpack_from("<I", load, 68)[0] for load in loads] == [25, 24]  # FEXIT, FENTRY
    assert [struct.unpack_from("<I", load, 108)[0] for load in loads] == [4711, 4711]
    assert kernel.opened == []
    engine.close()


def test_a_kernel_without_trampolines_says_so_for_all(kernel, bpf, monkeypatch) -> None:
    def call(command, attribute):
        if command == 17:
            raise OSError(524, "Unknown error 524")
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(trampolines, "call", call)
    engine = BccEngine(kernel.root, ring_bytes=RING)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    with pytest.raises(NoSuchRungError, match="no BPF trampolines"):
        engine.attach(replace(FREE, rung=Rung.FENTRY, btf=4711))
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
    engine.close()


def test_a_trial_sees_its_own_calls_and_leaves_nothing(kernel) -> None:
    engine = BccEngine(kernel.root, ring_bytes=RING)
    engine.attach(WARN)
    before = os.listdir("/proc/self/fd"), kernel.control  # noqa: PTH208

    def work() -> None:
        assert kernel.control[:8] == struct.pack("<Q", 1)
        kernel.send((1, ENTRY, 5, 1), (0, ENTRY, 5, 2), (1, EXIT, 5, 0))

    trial = engine.trial(SECTION, work)
    kinds = [(row["kind"], row["phase"]) for row in trial.batch.events.to_pylist()]
    assert kinds == [("section_add", "entry"), ("section_add", "exit")]
    after = os.listdir("/proc/self/fd"), kernel.control  # noqa: PTH208
    assert after == before
    assert kernel.emptied == 1  # the counts begin anew
    assert engine.poll(0) is None
    engine.close()
