# SPDX-License-Identifier: GPL-2.0-only
"""Kernel logs for tests: real splats behind every prefix, and splats with known arguments.

``prefixed`` puts the lines of a real capture behind the prefixes that other tools and kernels
print, and so never changes what they say. ``made`` prints a splat of given registers the way
show_regs does, for the proof by arithmetic.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

START, END = 0xFFFFFFFE00000000, 0xFFFFFFFF00000000  # the lab's 39-bit 6.1
SECTION, STEP = 0x8000 * 64, 512 * 64
_STAMPED = re.compile(rb"\[ *(\d+)\.(\d{6})\] (.*)")
_EPOCH = datetime(2026, 11, 25, 3, 18, 40, tzinfo=UTC)

Stamped = list[tuple[int, bytes]]


def stamped(raw: bytes) -> Stamped:
    """Return (microseconds since boot, text) of each line of a plain dmesg."""
    found = (_STAMPED.fullmatch(line) for line in raw.replace(b"\r\n", b"\n").splitlines())
    return [(int(line[1]) * 1_000_000 + int(line[2]), line[3]) for line in found if line]


def _plain(us: int, caller: str = "") -> str:
    return f"[{us // 1_000_000:5}.{us % 1_000_000:06}]{caller} "


def _wall(us: int, form: str) -> str:
    return (_EPOCH + timedelta(microseconds=us)).strftime(form)


def _at(form: str, behind: Callable[[int], str] = lambda _: "") -> Callable[[int, int], str]:
    return lambda us, _: _wall(us, form) + behind(us)


#: name → (prefix of a line by its microseconds and number, unit of its time in ns; 0: none)
PREFIXES: dict[str, tuple[Callable[[int, int], str], int]] = {
    "dmesg": (lambda us, _: _plain(us), 1000),
    "dmesg -T": (_at("[%a %b %e %H:%M:%S %Y] "), 10**9),
    "dmesg -d": (lambda us, _: _plain(us).replace("] ", " <    0.000012>] "), 1000),
    "dmesg --time-format iso": (_at("%Y-%m-%dT%H:%M:%S,%f+00:00 "), 1000),
    "dmesg --time-format delta": (lambda us, _: "[<    0.000038>] ", 0),
    "dmesg --time-format reltime": (lambda us, _: "[  +0.000038] ", 0),
    "dmesg -t": (lambda us, _: "", 0),
    "dmesg -r": (lambda us, _: f"<4>{_plain(us)}", 1000),
    "dmesg -x": (lambda us, _: f"kern  :warn  : {_plain(us)}", 1000),
    "dmesg -x -T": (_at("kern  :warn  : [%a %b %e %H:%M:%S %Y] "), 10**9),
    "dmesg --color": (lambda us, _: f"\x1b[32m{_plain(us)}\x1b[0m\x1b[1m", 1000),
    "/dev/kmsg": (lambda us, n: f"4,{n},{us},-;", 1000),
    "/dev/kmsg with callers": (lambda us, n: f"4,{n},{us},-,caller=T75;", 1000),
    "console with callers": (lambda us, _: _plain(us, "[   T75]"), 1000),
    "dmesg with callers": (lambda us, _: _plain(us, " [   T75]"), 1000),
    "syslog": (_at("%b %e %H:%M:%S host kernel: ", _plain), 1000),
    "syslog, no kernel times": (_at("%b %e %H:%M:%S host kernel: "), 10**9),
    "syslog, ISO 8601": (
        _at("%Y-%m-%dT%H:%M:%S.%f+00:00 host kernel: ", _plain),
        1000,
    ),
    "syslog, RFC 5424": (_at("<4>1 %Y-%m-%dT%H:%M:%S.%fZ host kernel - - - "), 1000),
    "journalctl": (_at("%b %d %H:%M:%S my-host.lan kernel: "), 10**9),
    "journalctl -o short-precise": (_at("%b %d %H:%M:%S.%f host kernel: "), 1000),
    "journalctl -o short-iso": (_at("%Y-%m-%dT%H:%M:%S+0000 host kernel: "), 10**9),
    "journalctl -o short-full": (_at("%a %Y-%m-%d %H:%M:%S UTC host kernel: "), 10**9),
    "journalctl -o short-unix": (_at("%s.%f host kernel: "), 1000),
    "journalctl -o short-monotonic": (lambda us, _: _plain(us) + "host kernel: ", 1000),
    "journalctl --no-hostname": (_at("%b %d %H:%M:%S kernel: "), 10**9),
    "a terminal's own times": (_at("[%Y-%m-%d %H:%M:%S.%f] ", _plain), 1000),
    "OpenWrt logread": (_at("%a %b %e %H:%M:%S %Y kern.warn kernel: "), 10**9),
    "OpenWrt logread, kernel times": (_at("%a %b %e %H:%M:%S %Y kern.warn kernel: ", _plain), 1000),
    "Amlogic": (lambda us, _: _plain(us).replace("] ", "@1] "), 1000),
    "Samsung": (lambda us, _: f"<4>{_plain(us)} [1:         insmod:   76] ", 1000),
    "MediaTek": (lambda us, _: f"<4>{_plain(us).rstrip()}-(1)[76:insmod]", 1000),
    "MediaTek, with a level": (lambda us, _: f"{_plain(us)}<4>.(1)[76:insmod] ", 1000),
    "Unisoc": (lambda us, _: f"<4>{_plain(us)}c1     76 ", 1000),
    "logcat -v threadtime": (_at("%m-%d %H:%M:%S.%f    76    76 W kernel  : "), 1000),
    "logcat with printk's time": (_at("%m-%d %H:%M:%S.%f W/kernel  (   76): ", _plain), 1000),
    "logcat -v brief": (lambda us, _: "W/kernel  (   76): ", 0),
    "containers (CRI)": (_at("%Y-%m-%dT%H:%M:%S.%f000Z stdout F "), 1000),
    "Loki, logcli": (_at('%Y-%m-%dT%H:%M:%SZ {job="kernel", host="a b"} '), 10**9),
    "netconsole, extended": (lambda us, n: f"4,{n},{us},-;", 1000),
    "netconsole with the release": (lambda us, n: f"6.1.192-vmemlab,4,{n},{us},-;", 1000),
    "vmcore-dmesg": (lambda us, _: _plain(us), 1000),
    "pstore": (lambda us, _: f"<4>{_plain(us)}", 1000),
    "nobody's, with a time": (lambda us, _: f"ttyS0|{us // 10**6}.{us % 10**6:06}|76| ", 1000),
    "nobody's, with a date": (_at("board-7/console %Y-%m-%d %H:%M:%S.%f => "), 1000),
    "nobody's, with tabs": (_at("%s\t%Y-%m-%dT%H:%M:%S.%fZ\tkern\t"), 1000),
    "nobody's, without": (lambda us, n: f"#{n:04} kern.warn| ", 0),
    "mail": (lambda us, _: "> " + _plain(us), 1000),
    "mail, quoted again": (lambda us, _: "> > " + _plain(us), 1000),
    "mail, quoted without spaces": (lambda us, _: ">>" + _plain(us), 1000),
}  # fmt: skip


def prefixed(lines: Stamped, name: str, ends: bytes = b"\n") -> bytes:
    """Return ``lines`` as ``PREFIXES[name]`` prints them."""
    prefix = PREFIXES[name][0]
    return b"".join(
        prefix(us, number).encode() + text + ends for number, (us, text) in enumerate(lines)
    )


def wrapped(raw: bytes, width: int, quote: bytes = b"") -> bytes:
    """Break lines at the last space before ``width``, as mailers do."""
    out = []
    for line in raw.splitlines():
        rest = line
        while len(rest) > width and (at := rest.rfind(b" ", len(quote) + 1, width)) > 0:
            out.append(rest[:at])
            rest = quote + rest[at + 1 :]
        out.append(rest)
    return b"\n".join(out) + b"\n"


def two_a_line(lines: Stamped) -> Stamped:
    """Print registers as kernels before 5.14 did (0bca3ec846d7 made it three a line)."""
    out: Stamped = []
    held: list[bytes] = []
    for us, text in lines:
        pairs = re.findall(rb"x\d{1,2} ?: [0-9a-f]{16}", text)
        if not pairs:
            out.append((us, text))
            continue
        held += pairs
        if held[-1].startswith(b"x0 "):
            out += [(us, b" ".join(held[at : at + 2])) for at in range(0, len(held), 2)]
            held = []
    return out


_HEAD = re.compile(rb"WARNING: CPU: (\d+) PID: (\d+) at (\S+) (\S+)")


def as_6_19(lines: Stamped, condition: bytes = b"") -> Stamped:
    """Print the first line as kernels do from 6.19 on; it takes comm from the line that has it."""
    out: Stamped = []
    for number, (us, text) in enumerate(lines):
        if head := _HEAD.match(text):
            comm = re.search(rb"Comm: (.*?) (?:Not t|T)ainted", lines[number + 2][1])[1]
            cpu, pid, place, function = head.groups()
            places = (condition, place, function, cpu, comm, pid)
            out.append((us, b"WARNING: %s%s at %s, CPU#%s: %s/%s" % places))
        else:
            out.append((us, text))
    return out


def interleaved(one: Sequence[bytes], two: Sequence[bytes], order: Sequence[bool]) -> list[bytes]:
    """Merge two printers' lines: ``order`` says whose is next, while both have some."""
    left, right = list(reversed(one)), list(reversed(two))
    out = []
    for first in order:
        if not left or not right:
            break
        out.append((left if first else right).pop())
    return out + left[::-1] + right[::-1]


def registers(start: int, end: int, others: Sequence[int]) -> list[int]:
    """Return x0 to x29 with start in x19, end in x1 and x22, and ``others`` around them."""
    values = [other & (1 << 64) - 1 for other in others][:30]
    values += [0] * (30 - len(values))
    values[19], values[1], values[22] = start, end, end
    return values


def made(values: Sequence[int], us: int = 4_479_658, tid: int = 68) -> Stamped:
    """Return the lines of a splat of vmemmap_populate with x0 to x29."""
    texts = [
        "------------[ cut here ]------------",
        f"WARNING: CPU: 0 PID: {tid} at arch/arm64/mm/mmu.c:1222 vmemmap_populate+0x40/0x1c4",
        "Modules linked in: devpriv(O+)",
        f"CPU: 0 PID: {tid} Comm: insmod Tainted: G           O       6.1.192-vmemlab #1 ",
        "Hardware name: linux,dummy-virt (DT)",
        "pstate: 20000005 (nzCv daif -PAN -UAO -TCO -DIT -SSBS BTYPE=--)",
        "pc : vmemmap_populate+0x40/0x1c4",
        "lr : __populate_section_memmap+0x44/0x6c",
        "sp : ffffff80057c7980",
        *dumped(values),
        "Call trace:",
        " vmemmap_populate+0x40/0x1c4",
        " __populate_section_memmap+0x44/0x6c",
        "---[ end trace 0000000000000000 ]---",
    ]
    return [(us, text.encode()) for text in texts]


def dumped(values: Sequence[int]) -> Iterator[str]:
    """Yield x29 to x0 as show_regs prints them."""
    for top in range(29, 0, -3):
        yield " ".join(f"x{n:<2}: {values[n]:016x}" for n in range(top, top - 3, -1))


def oops(address: int, values: Sequence[int], us: int, function: str, tid: int = 68) -> Stamped:
    """Return the lines of an Oops at ``address`` with x0 to x29."""
    texts = [
        f"Unable to handle kernel paging request at virtual address {address:016x}",
        "Mem abort info:",
        "  ESR = 0x0000000096000044",
        "swapper pgtable: 4k pages, 39-bit VAs, pgdp=0000000041234000",
        f"[{address:016x}] pgd=0000000000000000, p4d=0000000000000000, pud=0000000000000000",
        "Internal error: Oops: 0000000096000044 [#1] SMP",
        "Modules linked in: devpriv(O+)",
        f"CPU: 0 PID: {tid} Comm: insmod Tainted: G        W  O       6.1.192-vmemlab #1 ",
        "Hardware name: linux,dummy-virt (DT)",
        "pstate: 80000005 (Nzcv daif -PAN -UAO -TCO -DIT -SSBS BTYPE=--)",
        f"pc : {function}+0x4/0x34",
        "lr : memmap_init_zone_device+0x110/0x1c0",
        "sp : ffffff800256fa40",
        *dumped(values),
        "Call trace:",
        f" {function}+0x4/0x34",
        " memmap_init_zone_device+0x110/0x1c0",
        " memremap_pages+0x238/0x5f4",
        " devpriv_init+0xdc/0x1000 [devpriv]",
        "Code: f9401bf7 a8c47bfd d65f03c0 52800024 (b9003404) ",
        "---[ end trace 0000000000000000 ]---",
    ]
    return [(us, text.encode()) for text in texts]


def log_of(splats: Sequence[Sequence[int]]) -> bytes:
    """Return a log of one splat for each x0 to x29."""
    lines = [line for n, values in enumerate(splats) for line in made(values, 4_000_000 + n * 100)]
    return prefixed(lines, "dmesg")
