# SPDX-License-Identifier: GPL-2.0-only
"""Writes a printk ring as the kernel's printk_ringbuffer.c does, into a small machine's memory."""

import struct
from dataclasses import dataclass, field

from tests.tracers.constants.dumps import IMAGE_OFFSET, TEXT, Machine

PRB, RING, DESCS, INFOS, DATA = (0xFFFF_FFC0_0802_0000 + at * 0x1_0000 for at in range(5))
#: The layout of the lab's 6.1, by its note.
NOTE = f"""SYMBOL(prb)={PRB:x}
OFFSET(printk_ringbuffer.desc_ring)=0
OFFSET(printk_ringbuffer.text_data_ring)=48
OFFSET(prb_desc_ring.count_bits)=0
OFFSET(prb_desc_ring.descs)=8
OFFSET(prb_desc_ring.infos)=16
OFFSET(prb_desc_ring.head_id)=24
OFFSET(prb_desc_ring.tail_id)=32
SIZE(prb_desc)=24
OFFSET(prb_desc.state_var)=0
OFFSET(prb_desc.text_blk_lpos)=8
OFFSET(prb_data_blk_lpos.begin)=0
OFFSET(prb_data_blk_lpos.next)=8
SIZE(printk_info)=88
OFFSET(printk_info.seq)=0
OFFSET(printk_info.ts_nsec)=8
OFFSET(printk_info.text_len)=16
OFFSET(printk_info.caller_id)=20
OFFSET(prb_data_ring.size_bits)=0
OFFSET(prb_data_ring.data)=8
"""
FINALIZED, REUSABLE = 2 << 62, 3 << 62


@dataclass
class Ring:
    """Records go in; the oldest go when there is no descriptor or no room for a new one."""

    count_bits: int = 4
    size_bits: int = 9
    first_id: int = (1 << 62) - 16  # the kernel's ids begin near their end, too
    newer: bool = False  # 6.18: a block may end where the ring does
    held: list[tuple[int, int, int, int, int, bytes]] = field(default_factory=list)
    added: int = 0
    head: int = (1 << 64) - 512  # BLK0_LPOS of 9 bits

    def add(self, text: bytes, ts_ns: int = 0, caller: int = 1) -> None:
        size, mask = 1 << self.size_bits, (1 << self.size_bits) - 1
        need = 8 + len(text) + 7 & ~7
        begin = self.head
        following = begin + need & (1 << 64) - 1
        last = following - self.newer & (1 << 64) - 1
        if begin >> self.size_bits != last >> self.size_bits:
            following = (following & ~mask) + need
        while self.held and following - self.held[0][1] & (1 << 64) - 1 > size:
            self.held.pop(0)
        if len(self.held) == 1 << self.count_bits:
            self.held.pop(0)
        number = self.first_id + self.added & (1 << 62) - 1
        self.held.append((number, begin, following, ts_ns, caller, text))
        self.added += 1
        self.head = following

    def machine(self) -> Machine:
        """Return a machine whose memory has the ring."""
        machine = Machine(TEXT + NOTE)
        count, size = 1 << self.count_bits, 1 << self.size_bits
        descs, infos, data = bytearray(24 * count), bytearray(88 * count), bytearray(size)
        for at in range(count):
            struct.pack_into("<QQQ", descs, 24 * at, REUSABLE, 1, 1)
        kept = self.added - len(self.held)
        for at, (number, begin, following, ts_ns, caller, text) in enumerate(self.held):
            place = number % count
            struct.pack_into("<QQQ", descs, 24 * place, FINALIZED | number, begin, following)
            struct.pack_into("<QQHHI", infos, 88 * place, kept + at, ts_ns, len(text), 0, caller)
            start = begin % size
            struct.pack_into("<Q", data, start, number)
            if begin >> self.size_bits != following >> self.size_bits and following % size:
                start = 0
                struct.pack_into("<Q", data, start, number)
            data[start + 8 : start + 8 + len(text)] = text
        tail = self.held[0][0] if self.held else self.first_id
        head = self.held[-1][0] if self.held else self.first_id
        ring = struct.pack("<I4xQQQQQ", self.count_bits, DESCS, INFOS, head, tail, 0)
        ring += struct.pack("<I4xQQQ", self.size_bits, DATA, self.head, 0)
        for va, content in (
            (PRB, struct.pack("<Q", RING)),
            (RING, ring),
            (DESCS, descs),
            (INFOS, infos),
            (DATA, data),
        ):
            machine.put(va - IMAGE_OFFSET, bytes(content))
        return machine
