# SPDX-License-Identifier: GPL-2.0-only
"""Window reports for tests: the mail's machine, Debian's kernels, and kernels that lie."""

from recordings.reports.window_report import WindowReport
from tracers.constants.image.warn_sites import WarnSite
from tracers.constants.method_result import MethodResult
from tracers.cover import cover
from tracers.layout import layout_for
from tracers.window import Window, window_from_facts

HOSTILE = "\x1b]0;x\x07[bold]\u202e\u200b" + "x" * 300


def window(release: str = "6.1", **facts: int | None) -> Window:
    sizes = {"va_bits": 39, "page_size": 4096, "struct_page": 64, "memstart": 0x80_0000_0000}
    return window_from_facts(sizes | facts, release=release)


def report(found: Window, asked: tuple[int, int] | None = None, **more) -> WindowReport:
    layout = layout_for(found)
    answer = cover(found, layout, *asked) if asked else None
    return WindowReport("numbers given", found, layout, cover=answer, **more)


def seattle(asked: tuple[int, int] | None = None, **more) -> WindowReport:
    """The mail of 7 April 2023."""
    return report(window(), asked, **more)


def found(method: str, start: int | None, end: int | None, detail: str = "") -> MethodResult:
    return MethodResult(start, end, method, detail)


def debian() -> WindowReport:
    """Debian's 6.1.0-56-arm64 as kernel-facts.md gives it."""
    start, end = 0xFFFF_FC00_0000_0000, 0xFFFF_FE00_0000_0000
    ways = ("code:vmemmap_free", "code:vmemmap_populate", "btf+formula")
    return report(
        window(va_bits=48, memstart=None),
        release="6.1.0-56-arm64",
        build_id="0123456789abcdef0123",
        methods={way: found(way, start, end, f"what {way} rests on") for way in ways},
        missing={"vmcoreinfo": "no running kernel was asked"},
        probeable={"vmemmap_free": "traceable", "vmemmap_populate": "notrace"},
        warn_sites=(
            WarnSite(0xFFFF_8000_0800_1000, "vmemmap_populate", "arch/arm64/mm/mmu.c", 1222, True),
            WarnSite(0xFFFF_8000_0800_2000, "vmemmap_free", "arch/arm64/mm/mmu.c", 1268, False),
        ),
    )


def torn() -> WindowReport:
    """A kernel whose code and formula differ."""
    one, two = window(va_bits=48), window("6.12", va_bits=48)
    return report(
        one,
        methods={
            "code:vmemmap_free": found("code:vmemmap_free", one.start, one.end),
            "btf+formula": found("btf+formula", two.start, two.end),
            "code:vmcoreinfo": found("code:vmcoreinfo", one.start, None),
        },
        agree=False,
        problems=("code:vmemmap_free and btf+formula contradict each other",),
    )


def hostile() -> WindowReport:
    """Every text an attack on the terminal."""
    return report(
        window(),
        release=HOSTILE,
        build_id=HOSTILE,
        methods={HOSTILE: found(HOSTILE, 1 << 63, None, HOSTILE)},
        missing={HOSTILE: HOSTILE},
        problems=(HOSTILE,),
        probeable={HOSTILE: HOSTILE},
        warn_sites=(WarnSite(1 << 63, HOSTILE, HOSTILE, 1, False),),
    )
