# SPDX-License-Identifier: GPL-2.0-only
"""Hypothesis strategies for traces that no kernel wrote but a file may hold."""

from hypothesis import strategies as st

from tracers.events import Kind, Phase

#: The lab kernel's window, and addresses around all of its borders.
WINDOW = (0xFFFF_FFFE_0000_0000, 0xFFFF_FFFF_0000_0000)
_EDGES = (0, 2**63, *WINDOW, 2**64)
_NEAR = [(edge + step * 2**21) % 2**64 for edge in _EDGES for step in (-2, -1, 0, 1, 2)]
ADDRESSES = st.one_of(st.sampled_from(_NEAR), st.none())
#: Where the kernel failed in the log of an Oops, and its callers.
CHAIN = (
    "__init_zone_device_page+0x2c <- memmap_init_zone_device <- pagemap_range <- memremap_pages"
    " <- devm_memremap_pages <- demo_probe [demo]"
)
_TIMES = st.one_of(st.integers(0, 5000), st.integers(0, 10**9), st.integers(0, 2**64 - 1))
_PAGES = st.one_of(st.none(), st.integers(0, 2**20), st.integers(0, 2**64 - 1))


@st.composite
def _row(draw):
    kind = draw(st.sampled_from([kind.label for kind in Kind]))
    row = {
        "ts_ns": draw(_TIMES),
        "kind": kind,
        "phase": draw(st.sampled_from([Phase(p).label for p in (1, 1, 1, 2, 2, 2, 3, 0)])),
        "source": draw(st.sampled_from(["kprobe", "derived"])),
        "cpu": draw(st.sampled_from([0, 1, None])),
        "tid": draw(st.sampled_from([7, 7, 8, 0, None])),
        "pid": draw(st.sampled_from([None, 6])),
        "comm": draw(st.sampled_from(["insmod", "kworker/0:1", None, "\x1b]0;x\x07[bold]"])),
    }
    if kind in ("populate", "free"):
        row |= {"start": draw(ADDRESSES), "end": draw(ADDRESSES)}
    elif kind in ("add_pages", "remove_pages"):
        row |= {"pfn": draw(_PAGES), "nr_pages": draw(_PAGES)}
    elif kind == "warn":
        row |= {"site": draw(st.sampled_from(["mm/a.c", "mm/b.c", None]))}
        row |= {"line": draw(st.sampled_from([1222, 1268, None]))}
    elif kind == "fault":
        row |= {"phase": draw(st.sampled_from(["point", "point", "point", "entry", "exit"]))}
        row |= {"start": draw(ADDRESSES), "end": draw(ADDRESSES), "pfn": draw(_PAGES)}
        row |= {"site": draw(st.sampled_from([CHAIN, "die+0x1 <- \x1b]0;x\x07", None]))}
    return row


ROWS = st.lists(_row(), max_size=60)


@st.composite
def cuts(draw, length):
    """Ascending places to cut at, some of them empty pieces."""
    places = draw(st.lists(st.integers(0, length), max_size=8))
    return [0, *sorted(places), length]
