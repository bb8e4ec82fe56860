# SPDX-License-Identifier: GPL-2.0-only
"""Makes trace-cmd files: of either version and byte order, packed or not, with what a test needs.

It follows trace-cmd's manual pages trace-cmd.dat.v6(5) and trace-cmd.dat.v7(5), one number after
the other, and shares no code with the reader.
"""

import struct
import zlib
from dataclasses import dataclass, field

import pyarrow as pa

PAGE = 4096
BASE = 1_000_000_000
FREE, WARN, WARN_RET = 573, 575, 576
ADDRESS = {"vmemmap_free": 0xFFFFFFC008028690, "__warn": 0xFFFFFFC008034400}
KALLSYMS = "".join(f"{address:016x} T {name}\n" for name, address in ADDRESS.items()).encode()
HEADER_PAGE = (
    "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
    "\tfield: local_t commit;\toffset:8;\tsize:{long};\tsigned:1;\n"
    "\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
    "\tfield: char data;\toffset:{data};\tsize:4080;\tsigned:0;\n"
)
COMMON = (
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
)


def event_text(name: str, number: int, shown: str, *fields: tuple[str, int, int, int]) -> bytes:
    """The kernel's description of an event; fields of (type and name, offset, size, signed)."""
    lines = "".join(
        f"\tfield:{what};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n"
        for what, offset, size, signed in fields
    )
    return f"name: {name}\nID: {number}\nformat:\n{COMMON}{lines}\nprint fmt: {shown}\n".encode()


FORMATS = (
    event_text(
        "vmemmap_free",
        FREE,
        '"(%lx) start=0x%Lx end=0x%Lx", REC->__probe_ip, REC->start, REC->end',
        ("unsigned long __probe_ip", 8, 8, 0),
        ("u64 start", 16, 8, 0),
        ("u64 end", 24, 8, 0),
    ),
    event_text(
        "warn",
        WARN,
        '"(%lx) file=\\"%s\\" line=%u", REC->__probe_ip, __get_str(file), REC->line',
        ("unsigned long __probe_ip", 8, 8, 0),
        ("__data_loc char[] file", 16, 4, 1),
        ("u32 line", 20, 4, 0),
    ),
    event_text(
        "warn_ret",
        WARN_RET,
        '"(%lx <- %lx)", REC->__probe_func, REC->__probe_ret_ip',
        ("unsigned long __probe_func", 8, 8, 0),
        ("unsigned long __probe_ret_ip", 16, 8, 0),
    ),
    event_text("sched_switch", 300, '"==> %d", REC->next_pid', ("int next_pid", 8, 4, 1)),
)


@dataclass
class File:
    """A file to be: ``cpus`` are (number, pages) of the main buffer, ``others`` of instances."""

    version: int = 7
    order: str = "<"
    packing: str = "none"
    long: int = 8
    page_size: int = PAGE
    cpus: list[tuple[int, bytes]] = field(default_factory=list)
    others: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    options: list[tuple[int, bytes]] = field(default_factory=list)
    clock: bytes | None = b"local [mono] boot"
    commands: bytes = b"66 insmod\n7 a  b\n"
    kallsyms: bytes = KALLSYMS
    formats: tuple[bytes, ...] = FORMATS
    latency: bytes | None = None

    # -- numbers ------------------------------------------------------------------------------

    def n(self, *values: tuple[int, int] | bytes) -> bytes:
        """Numbers of (bytes, value), and bytes as they are."""
        codes = {2: "H", 4: "I", 8: "Q"}
        return b"".join(
            value
            if isinstance(value, bytes)
            else struct.pack(self.order + codes[value[0]], value[1])
            for value in values
        )

    def pack(self, data: bytes) -> bytes:
        """Packed as this file's parts are."""
        if self.packing == "zlib":
            return zlib.compress(data)
        packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
        return packed

    # -- ring buffer --------------------------------------------------------------------------

    def free(self, start: int, end: int, pid: int = 66) -> bytes:
        """A record of vmemmap_free."""
        head = self.n((2, FREE), b"\0\0", (4, pid), (8, ADDRESS["vmemmap_free"]))
        return head + self.n((8, start), (8, end))

    def warn(self, site: bytes, line: int, pid: int = 66) -> bytes:
        """A record of __warn."""
        text = site + b"\0"
        head = self.n((2, WARN), b"\0\0", (4, pid), (8, ADDRESS["__warn"]))
        return head + self.n((4, len(text) << 16 | 24), (4, line), text)

    def switch(self, pid: int = 66) -> bytes:
        """A record of an event that is not ours."""
        return self.n((2, 300), b"\0\0", (4, pid), (4, 1))

    def word(self, kind: int, delta: int) -> bytes:
        """The first word of an entry."""
        value = kind << 27 | delta if self.order == ">" else delta << 5 | kind
        return self.n((4, value))

    def extend(self, delta: int) -> bytes:
        """Time that does not fit into 27 bits."""
        return self.word(30, delta & ((1 << 27) - 1)) + self.n((4, delta >> 27))

    def stamp(self, ts: int) -> bytes:
        """An absolute time, without the bits that its page's has."""
        return self.word(31, ts & ((1 << 27) - 1)) + self.n((4, ts >> 27 & 0xFFFFFFFF))

    def entry(self, delta: int, record: bytes, *, long: bool = False) -> bytes:
        """A record, ``delta`` behind what is before it; ``long``: its length in a word."""
        record += bytes(-len(record) % 4)
        if long or len(record) > 112:
            return self.word(0, delta) + self.n((4, len(record) + 4)) + record
        return self.word(len(record) // 4, delta) + record

    def page(
        self, ts: int, *entries: bytes, missed: int | None = None, commit: int | None = None
    ) -> bytes:
        """A page; ``missed`` events were lost before it, -1: nobody knows how many."""
        data = b"".join(entries)
        commit = len(data) if commit is None else commit
        tail = b""
        if missed is not None:
            commit |= 1 << 31
            if missed >= 0:
                commit |= 1 << 30
                tail = self.n((self.long, missed))
        page = self.n((8, ts), (self.long, commit)) + data + tail
        assert len(page) <= self.page_size
        return page.ljust(self.page_size, b"\0")

    # -- the file -----------------------------------------------------------------------------

    def made(self) -> bytes:
        """The whole of it."""
        start = b"\x17\x08\x44tracing%d\0" % self.version
        start += bytes([self.order == ">", 8]) + self.n((4, self.page_size))
        return self._six(start) if self.version == 6 else self._seven(start)

    def _parts(self) -> dict[int, bytes]:
        page = HEADER_PAGE.format(long=self.long, data=8 + self.long).encode()
        texts = b"".join(self.n((8, len(text)), text) for text in self.formats)
        return {
            16: self.n(b"header_page\0", (8, len(page)), page, b"header_event\0", (8, 4), b"none"),
            17: self.n((4, 1), (8, 3), b"abc"),
            18: self.n((4, 1), b"kprobes\0", (4, len(self.formats)), texts),
            19: self.n((4, len(self.kallsyms)), self.kallsyms),
            20: self.n((4, 2), b"xy"),
            21: self.n((8, len(self.commands)), self.commands),
        }

    def _all_options(self) -> list[tuple[int, bytes]]:
        clock = [] if self.clock is None else [(4, self.clock + b"\0")]
        return [*clock, (5, b"Linux host 6.1.0-test aarch64\0"), *self.options]

    def _option(self, number: int, data: bytes) -> bytes:
        return self.n((2, number), (4, len(data)), data)

    def _six(self, start: bytes) -> bytes:
        start += b"".join(self._parts().values())
        count = max((cpu for cpu, _ in self.cpus), default=-1) + 1
        start += self.n((4, count))
        if self.latency is not None:
            return start + b"latency  \0" + self.latency
        names = list(self.others)
        data = bytearray(start + b"options  \0")
        for number, text in self._all_options():
            data += self._option(number, text)
        places = {}
        for name in names:
            places[name] = len(data) + 6
            data += self._option(3, self.n((8, 0)) + name.encode() + b"\0")
        data += self.n((2, 0))
        tables = {"": len(data) + 10}
        data += b"flyrecord\0" + bytes(16 * count)
        data += self.n((8, len(self.clock or b"")), self.clock or b"")
        for name in names:
            struct.pack_into(self.order + "Q", data, places[name], len(data))
            tables[name] = len(data) + 10
            data += b"flyrecord\0" + bytes(16 * count)
        for name, cpus in {"": self.cpus, **self.others}.items():
            for cpu, pages in cpus:
                data += bytes(-len(data) % self.page_size)
                at = tables[name] + 16 * cpu
                struct.pack_into(self.order + "QQ", data, at, len(data), len(pages))
                data += pages
        return bytes(data)

    def _section(self, number: int, data: bytes) -> bytes:
        packed = self.packing != "none" and number != 0
        if packed:
            small = self.pack(data)
            data = self.n((4, len(small)), (4, len(data)), small)
        return self.n((2, number), (2, int(packed)), (4, 0), (8, len(data)), data)

    def _pages(self, pages: bytes) -> bytes:
        if self.packing == "none":
            return pages
        step = 10 * self.page_size
        chunks = [pages[at : at + step] for at in range(0, len(pages), step)]
        small = [(self.pack(chunk), len(chunk)) for chunk in chunks]
        return self.n((4, len(small))) + b"".join(
            self.n((4, len(chunk)), (4, size), chunk) for chunk, size in small
        )

    def _seven(self, start: bytes) -> bytes:
        data = bytearray(start + self.packing.encode() + b"\x001.0\0")
        first = len(data)
        data += bytes(8)
        options = self._all_options()
        for number, part in self._parts().items():
            options.append((number, self.n((8, len(data)))))
            data += self._section(number, part)
        struct.pack_into(self.order + "Q", data, first, len(data))
        done = self._add_options(data, options)
        if self.latency is not None:
            at = len(data)
            data += self._section(22, self.latency)
            return bytes(self._chain(data, done, [(22, self.n((8, at), b"\0mono\0"))])[0])
        clock = (self.clock or b"").partition(b"[")[2].partition(b"]")[0]
        for name, cpus in {"": self.cpus, **self.others}.items():
            at = len(data)
            data += self.n((2, 3), (2, int(self.packing != "none")), (4, 0), (8, 0))
            option = self.n((8, at), name.encode(), b"\0", clock, b"\0", (4, self.page_size))
            option += self.n((4, len(cpus)))
            for cpu, pages in cpus:
                data += bytes(-len(data) % self.page_size)
                stored = self._pages(pages)
                option += self.n((4, cpu), (8, len(data)), (8, len(stored)))
                data += stored
            struct.pack_into(self.order + "Q", data, at + 8, len(data) - at - 16)
            data, done = self._chain(data, done, [(3, option)])
        return bytes(data)

    def _add_options(self, data: bytearray, options: list[tuple[int, bytes]]) -> int:
        """Add a section of options; return where the offset of the next one stands in it."""
        text = b"".join(self._option(number, each) for number, each in options)
        data += self._section(0, text + self._option(0, bytes(8)))
        return len(data) - 8

    def _chain(
        self, data: bytearray, done: int, options: list[tuple[int, bytes]]
    ) -> tuple[bytearray, int]:
        struct.pack_into(self.order + "Q", data, done, len(data))
        return data, self._add_options(data, options)
