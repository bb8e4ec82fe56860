# SPDX-License-Identifier: GPL-2.0-only
"""The BPF program compiled as ordinary C, its layouts, and the engine's errors.

BCC's tables are structs of function pointers: a few lines of C stand in for the kernel's maps,
and gcc makes a library of program.c itself. What the kernel makes of it is tested in the lab.
"""

import ctypes
import os
import shutil
import struct
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.events import Phase
from tracers.live.bcc.engine import TALLY, BccEngine
from tracers.live.bcc.program import NONE, SLOT_MARK, SLOTS, compile_program, program, quiet
from tracers.live.probes.engine import AttachError, LiveError
from tracers.live.probes.points import Filters, ProbeAddress
from tracers.live.records import RAW

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")

KERNEL = r"""
#include <stdlib.h>
#include <string.h>
#define MOST 64
struct record sent[MOST];
u64 n_sent, ring_room = MOST, mark_room = MOST, pid_tgid;
struct control the_control;
struct tally the_tally;
static char comm_now[16];
static struct { u64 key, used, value; } mark[MOST];

static struct control *f_control(u32 *key) { return *key ? 0 : &the_control; }
static struct tally *f_tally(u32 *key) { return *key ? 0 : &the_tally; }
static u64 *f_lookup(u64 *key)
{
	for (int i = 0; i < MOST; i++)
		if (mark[i].used && mark[i].key == *key)
			return &mark[i].value;
	return 0;
}
static int f_delete(u64 *key)
{
	for (int i = 0; i < MOST; i++)
		if (mark[i].used && mark[i].key == *key)
			return mark[i].used = 0;
	return -2;
}
static int f_update(u64 *key, u64 *value)
{
	if (f_lookup(key))
		return 0;
	for (u64 i = 0; i < mark_room; i++)
		if (!mark[i].used) {
			mark[i].used = 1, mark[i].key = *key;
			return 0;
		}
	return -7;
}
static struct name *f_file(u64 *key) { static struct name n; return &n; }
static void *f_reserve(u64 size)
{
	return size == sizeof(struct record) && n_sent < ring_room ? &sent[n_sent++] : 0;
}
static void f_submit(void *record, u64 flags) {}
static u64 f_time(void) { static u64 now; return ++now; }
static u32 f_cpu(void) { return 3; }
static u64 f_who(void) { return pid_tgid; }
static long f_comm(void *to, u32 size) { memcpy(to, comm_now, size); return 0; }

void set_up(const void *control_bytes)
{
	memcpy(&the_control, control_bytes, sizeof(the_control));
	control.lookup = f_control, tallies.lookup = f_tally, files.lookup = f_file;
	marks.lookup = f_lookup, marks.update = f_update, marks.delete = f_delete;
	ring.ringbuf_reserve = f_reserve, ring.ringbuf_submit = f_submit;
	bpf_ktime_get_ns = f_time, bpf_get_smp_processor_id = f_cpu;
	bpf_get_current_pid_tgid = f_who, bpf_get_current_comm = f_comm;
}
void be(u64 who, const char *comm) { pid_tgid = who; strncpy(comm_now, comm, 16); }
void enter(int n, u64 a, u64 b, u64 c, u64 d)
{
	struct registers r = {.x0 = a, .x1 = b, .x2 = c, .x3 = d};
	now_slot = n;
	at_entry(&r);
}
void leave(int n, u64 result)
{
	struct registers r = {.result = result};
	now_slot = n;
	at_exit(&r);
}
void report(u64 id) { struct report r = {.id = id}; on_report(&r); }
u64 layout[] = {sizeof(struct record), sizeof(struct control), sizeof(struct tally),
	__builtin_offsetof(struct record, probe), __builtin_offsetof(struct record, phase),
	__builtin_offsetof(struct record, known), __builtin_offsetof(struct record, cpu),
	__builtin_offsetof(struct record, pid), __builtin_offsetof(struct record, tid),
	__builtin_offsetof(struct record, site), __builtin_offsetof(struct record, line),
	__builtin_offsetof(struct record, comm), __builtin_offsetof(struct record, args),
	__builtin_offsetof(struct tally, exits), __builtin_offsetof(struct tally, lost),
	__builtin_offsetof(struct tally, warns), __builtin_offsetof(struct tally, other_warns),
	__builtin_offsetof(struct tally, reported), __builtin_offsetof(struct tally, other_reported)};
"""

#: struct slot: probe, window, start, end, file, caller
WARN = (9, 0, NONE, NONE, 0, 2)
PLAIN = (4, 0, NONE, NONE, NONE, NONE)
WINDOWED = (300, 1, 1, 2, NONE, NONE)


class Machine:
    """program.c with some filters, and a kernel made of a few lines."""

    def __init__(self, directory, filters=Filters(), ours=(), *, running=True):  # noqa: B008
        source, self.path = directory / "program.c", directory / "program.so"
        if not self.path.exists():
            text = program(filters, ours, 1 << 16).replace(f"SLOT {SLOT_MARK}", "SLOT now_slot")
            source.write_text("static int now_slot;\n" + text + KERNEL)
            command = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-o", str(self.path), str(source)]
            subprocess.run(command, check=True)
        # a copy of its own, as the same file would be the same library with its old state
        fresh = directory / f"{len(list(directory.iterdir()))}.so"
        fresh.write_bytes(self.path.read_bytes())
        self.lib = ctypes.CDLL(str(fresh))
        self.lib.be.argtypes = [ctypes.c_uint64, ctypes.c_char_p]
        self.lib.enter.argtypes = [ctypes.c_int, *[ctypes.c_uint64] * 4]
        self.lib.leave.argtypes = [ctypes.c_int, ctypes.c_uint64]
        self.lib.report.argtypes = [ctypes.c_uint64]
        slots = [WARN, PLAIN, WINDOWED] + [PLAIN] * (SLOTS - 3)
        packed = b"".join(struct.pack("<H6B", *slot, 0) for slot in slots)
        self.lib.set_up(struct.pack("<Q", running) + packed)
        self.be(100, 100, "insmod")

    def be(self, pid: int, tid: int, comm: str) -> None:
        self.lib.be(pid << 32 | tid, comm.encode())

    def call(self, slot: int, *args: int) -> None:
        self.lib.enter(slot, *args)
        self.lib.leave(slot, 0)

    def room(self, what: str, number: int) -> None:
        ctypes.c_uint64.in_dll(self.lib, what).value = number

    @property
    def sent(self) -> np.ndarray:
        count = ctypes.c_uint64.in_dll(self.lib, "n_sent").value
        memory = (ctypes.c_char * (64 * RAW.itemsize)).in_dll(self.lib, "sent")
        return np.frombuffer(bytes(memory), RAW)[:count]

    @property
    def tally(self) -> np.void:
        memory = (ctypes.c_char * TALLY.itemsize).in_dll(self.lib, "the_tally")
        return np.frombuffer(bytes(memory), TALLY)[0]

    def phases(self) -> list[tuple[int, int]]:
        return [(int(each["probe"]), int(each["phase"])) for each in self.sent]


@needs_gcc
def test_layouts_are_the_readers(tmp_path) -> None:
    layout = list((ctypes.c_uint64 * 19).in_dll(Machine(tmp_path).lib, "layout"))
    assert layout[:3] == [RAW.itemsize, 8 + 8 * SLOTS, TALLY.itemsize]
    names = ("probe", "phase", "known", "cpu", "pid", "tid", "site", "line", "comm", "args")
    assert layout[3:13] == [RAW.fields[name][1] for name in names]
    names = ("exits", "lost", "warns", "other_warns", "reported", "other_reported")
    assert layout[13:] == [TALLY.fields[name][1] for name in names]


@needs_gcc
def test_a_call_is_sent_as_it_was(tmp_path) -> None:
    machine = Machine(tmp_path)
    machine.be(70, 71, "a name of 15 by")
    machine.lib.enter(1, 2**64 - 1, 2, 3, 4)
    machine.lib.leave(1, 2**64 - 12)
    entry, exit_ = machine.sent
    assert entry["args"].tolist() == [2**64 - 1, 2, 3, 4]
    assert (entry["probe"], entry["phase"], entry["known"]) == (4, Phase.ENTRY, 7)
    assert (entry["cpu"], entry["pid"], entry["tid"], entry["site"]) == (3, 70, 71, -1)
    assert entry["comm"] == b"a name of 15 by"
    assert (exit_["phase"], exit_["args"][0]) == (Phase.EXIT, 2**64 - 12)
    assert entry["ts_ns"] < exit_["ts_ns"]


@needs_gcc
def test_nothing_is_sent_or_counted_before_the_start(tmp_path) -> None:
    machine = Machine(tmp_path, running=False)
    for slot in range(3):
        machine.call(slot, 1, 2, 3, 4)
    machine.lib.report(1)
    assert machine.sent.size == 0
    assert not any(np.any(machine.tally[name]) for name in TALLY.names)


@needs_gcc
@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(pid=70), {(70, 71, "insmod"), (70, 70, "other")}),
        (Filters(comm="insmod"), {(70, 71, "insmod"), (80, 70, "insmod")}),
        (Filters(pid=70, comm="insmod"), {(70, 71, "insmod")}),
        (Filters(comm="a name of 15 bytes"), {(9, 9, "a name of 15 by")}),
    ],
)
def test_whose_calls_are_kept(tmp_path, filters, kept) -> None:
    machine = Machine(tmp_path, filters)
    everyone = {(70, 71, "insmod"), (70, 70, "other"), (80, 70, "insmod")}
    everyone |= {(9, 9, "a name of 15 by"), (9, 8, "insmod2")}
    for pid, tid, comm in everyone:
        machine.be(pid, tid, comm)
        machine.call(1, 1, 2, 3, 4)
    seen = [(int(r["pid"]), int(r["tid"]), r["comm"].decode()) for r in machine.sent]
    assert sorted(seen) == sorted([*kept, *kept])


WINDOW = (0xFFFFFFFE00000000, 0xFFFFFFFF00000000)
TOP = (0xFFFFFFFF00000000, 0)  # ends at 2^64


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    made = {}
    for window in (WINDOW, TOP):
        made[window] = tmp_path_factory.mktemp("window")
        Machine(made[window], Filters(window=window))
    return made


near = st.one_of(
    *[st.integers(-(2**21), 2**21).map(lambda by, at=at: (at + by) % 2**64) for at in (*WINDOW, 0)],
    st.integers(0, 2**64 - 1),
)


@needs_gcc
@pytest.mark.parametrize("window", [WINDOW, TOP])
def test_calls_inside_the_window_go_with_their_exits(windows, window) -> None:
    machine = Machine(windows[window], Filters(window=window))

    @given(near, near)
    def check(start: int, end: int) -> None:
        machine.room("n_sent", 0)
        machine.call(2, 0, start, end, 0)
        high = window[1] or 2**64
        last = end if end > start or not start else end or 2**64  # an end of 0 is 2^64
        inside = window[0] <= start < high and start <= last <= high
        assert machine.phases() == ([] if inside else [(300, Phase.ENTRY), (300, Phase.EXIT)])

    check()


@needs_gcc
def test_an_exit_goes_with_its_own_call(tmp_path) -> None:
    machine = Machine(tmp_path, Filters(window=WINDOW))
    machine.be(1, 1, "kept")
    machine.lib.enter(2, 0, 0, 4096, 0)
    machine.be(2, 2, "dropped")
    machine.lib.enter(2, 0, WINDOW[0], WINDOW[0] + 4096, 0)
    machine.lib.leave(2, 0)
    machine.be(1, 1, "kept")
    machine.lib.leave(2, 0)
    machine.lib.leave(2, 0)  # a second return of nothing
    assert [int(tid) for tid in machine.sent["tid"]] == [1, 1]


@needs_gcc
def test_a_call_whose_return_was_missed_leaves_no_orphan(tmp_path) -> None:
    machine = Machine(tmp_path, Filters(window=WINDOW))
    machine.lib.enter(2, 0, 0, 4096, 0)
    machine.call(2, 0, WINDOW[0], WINDOW[0] + 4096, 0)
    assert machine.phases() == [(300, Phase.ENTRY)]


@needs_gcc
def test_what_the_ring_has_no_room_for_is_counted(tmp_path) -> None:
    machine = Machine(tmp_path)
    machine.room("ring_room", 3)
    for _ in range(4):
        machine.call(1, 1, 2, 3, 4)
    tally = machine.tally
    assert (tally["entries"][1], tally["exits"][1], tally["lost"][1]) == (4, 4, 5)
    assert machine.phases() == [(4, Phase.ENTRY), (4, Phase.EXIT), (4, Phase.ENTRY)]


@needs_gcc
def test_a_mark_there_is_no_room_for_costs_the_exit_and_is_counted(tmp_path) -> None:
    machine = Machine(tmp_path, Filters(window=WINDOW))
    machine.room("mark_room", 0)
    machine.call(2, 0, 0, 4096, 0)
    tally = machine.tally
    assert (tally["entries"][2], tally["exits"][2], tally["lost"][2]) == (1, 1, 1)
    assert machine.phases() == [(300, Phase.ENTRY)]


@needs_gcc
def test_warns_of_others_are_counted_apart_whoever_made_them(tmp_path) -> None:
    ours = [(0x1000, 0x1100), (0xFFFFFFC000000000, 0xFFFFFFC000000010)]
    machine = Machine(tmp_path, Filters(comm="insmod"), ours)
    for caller in (0xFFF, 0x1000, 0x10FF, 0x1100, 0xFFFFFFC00000000F, 0xFFFFFFC000000010):
        machine.call(0, 0xAB, 1222, caller, 0)
        machine.lib.report(caller)
    machine.be(1, 1, "other")
    machine.call(0, 0xAB, 1222, 0x1000, 0)
    tally = machine.tally
    assert (tally["warns"], tally["other_warns"]) == (4, 3)
    assert (tally["reported"], tally["other_reported"]) == (3, 3)
    assert machine.phases() == [(9, Phase.ENTRY), (9, Phase.EXIT)] * 3
    assert machine.sent["args"][::2, 2].tolist() == [0x1000, 0x10FF, 0xFFFFFFC00000000F]


@needs_gcc
def test_idle_tasks_of_two_cpus_are_two(tmp_path) -> None:
    machine = Machine(tmp_path, Filters(window=WINDOW))
    machine.be(0, 0, "swapper/3")
    machine.call(2, 0, 0, 4096, 0)
    machine.be(0, 3, "thread 3")  # not to be taken for the idle task of CPU 3
    machine.lib.leave(2, 0)
    assert machine.phases() == [(300, Phase.ENTRY), (300, Phase.EXIT)]


def a_root(tmp_path, *, kprobe=True):
    cpu = tmp_path / "sys/devices/system/cpu"
    cpu.mkdir(parents=True)
    (cpu / "online").write_text("0-1,3\n")
    (cpu / "possible").write_text("0-7\n")
    if kprobe:
        pmu = tmp_path / "sys/bus/event_source/devices/kprobe"
        (pmu / "format").mkdir(parents=True)
        (pmu / "type").write_text("8\n")
        (pmu / "format/retprobe").write_text("config:0\n")
    return tmp_path


def test_a_kernel_without_kprobes_for_perf(tmp_path) -> None:
    with pytest.raises(LiveError, match=r"kprobes for perf .*--engine tracefs"):
        BccEngine(a_root(tmp_path, kprobe=False))


def test_no_sysfs(tmp_path) -> None:
    with pytest.raises(LiveError, match="mount sysfs"):
        BccEngine(tmp_path)


def test_no_bcc(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(LiveError, match="install python3-bpfcc"):
        BccEngine(a_root(tmp_path))


def test_what_bcc_prints_goes_into_the_error(capfd) -> None:
    def bpf(*, text, cflags):
        del cflags
        assert b"at_entry" in text
        source = os.environ["BCC_KERNEL_SOURCE"]
        header = os.path.join(source, "include/linux/kconfig.h")  # noqa: PTH118
        os.write(2, b"%d\nerror: no such thing\n1 warning\n" % os.path.exists(header))  # noqa: PTH110
        os.write(1, b"WARNING: something for stdout\n")
        raise Exception("Failed to compile BPF module b'<text>'")  # noqa: TRY002

    with pytest.raises(LiveError) as raised:
        compile_program(bpf, program(Filters(), (), 4096))
    assert "Failed to compile BPF module '<text>': error: no such thing" in str(raised.value)
    assert "--engine tracefs" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")
    assert "BCC_KERNEL_SOURCE" not in os.environ


def test_a_kernel_source_of_the_users_own_stays(monkeypatch) -> None:
    monkeypatch.setenv("BCC_KERNEL_SOURCE", "/usr/src/mine")
    compile_program(lambda **_: None, "")
    assert os.environ["BCC_KERNEL_SOURCE"] == "/usr/src/mine"


def test_the_terminal_is_back_afterwards(capfd) -> None:
    with quiet() as printed:
        os.write(2, b"one\n")
    os.write(2, b"two\n")
    assert printed == ["one"]
    assert capfd.readouterr().err == "two\n"


def test_why_the_kernel_rejected_an_event_in_words(tmp_path) -> None:
    from tracers.live.bcc.perf_events import Kprobes  # noqa: PLC0415

    root = a_root(tmp_path)
    (root / "sys/bus/event_source/devices/kprobe/type").write_text("2147483646\n")  # no such PMU
    target = ProbeAddress("vmemmap_populate", 0x10, 0xFFFFFFC008028000)
    with pytest.raises(AttachError, match=r"^vmemmap_populate\+0x10: .* \(E[A-Z]+\)$"):
        Kprobes(root, 0).open(target, returns=False, program=-1)
