# SPDX-License-Identifier: GPL-2.0-only
"""Shows the keys, and the words the screen uses."""

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from recordings.explore.filter import KEYS as TERM_KEYS
from tui.widgets import words
from tui.widgets.panel import content, line

KEYS: Final = (
    ("space", "pause and go on; at the end, play again from the beginning"),
    ("← →", "back and forward by 1/20 of the recording"),
    ("shift+← →", "back and forward by 1/200"),
    (", .", "back and forward by one event, and pause there"),
    ("home end", "before the first event, after the last"),
    ("n N", "next and previous hit or Oops, or match of the filter, and pause there"),
    ("o O", "next and previous operation, and pause there"),
    ("g", "go to a time, an event (#898), a stamp of dmesg, a pfn, an address"),
    ("b B", "set a bookmark here, list them; ' lists them, too"),
    ("click", "on the timeline: go there, dragging too"),
    ("+ -", "faster, slower: 0.25x to 64x, then max (as fast as possible)"),
    ("tab", "to the next table; arrows up and down move in it"),
    ("enter", "open or close an operation or section in place; explain a call"),
    ("→ ←", "in the operations: open a branch; close it, or go to what it is in"),
    ("f", "in the operations: show only this one, and all again"),
    ("[ ]", "to the call before and after in time, of those that match; time itself stays"),
    ("y", "copy the row under the cursor; ctrl+c copies what was selected with the mouse"),
    ("s", "list calls and operations by time, by duration, by share of WARNs"),
    ("/", "show only what matches, such as comm:rmmod took>1ms !regime:inside; esc clears"),
    ("v 1-5", "turn the page at the bottom of a low screen, or show one; 5: the call in full"),
    ("h", "sections: by worst regime, by longest call, hidden; on a low screen in the map's place"),
    ("p", "how each function is seen, or why it is not"),
    ("t", "dark and light"),
    ("? q", "this help, quit"),
)
#: The same for live events.
LIVE_KEYS: Final = (
    ("space", "freeze the view and let it go on; the capture never stops"),
    ("← →", "into the past and back, by 1/20 of the time so far; shift: by 1/200"),
    ("home end", "before the first event; back to now"),
    ("n N", "next and previous hit or Oops"),
    *(key for key in KEYS if key[0] in ("g", "b B", "click")),
    *(key for key in KEYS if key[0] in ("tab", "enter", "→ ←", "f", "[ ]", "y", "s", "/")),
    *KEYS[-5:-1],
    ("? q", "this help; quit: probes off, the file whole"),
)
#: What a filter can ask for.
TERMS: Final = tuple(
    (f"{key}:", f"{meaning}, such as {example}") for key, (example, meaning) in TERM_KEYS.items()
)
WORDS: Final = tuple(
    (term, " ".join(meaning.split()))
    for term, meaning in {
        "window": """[VMEMMAP_START, VMEMMAP_END): the addresses the kernel set aside for struct
            pages; what the WARN in vmemmap_populate and vmemmap_free compares with""",
        "call": "one vmemmap_populate or vmemmap_free of an address range",
        "in use": """the part of the window where this kernel has its struct pages: all of it,
            unless it is built for 52-bit addresses and the CPU has fewer""",
        "hit": "a call whose range is not inside the window in use",
        "silent": f"""a hit (marked {words.SILENT}) that the kernel's own check lets pass: no WARN,
            whatever it lands on""",
        "regime": """where a range lies: inside, below or above the window, wrapped past 2^64
            into the user half, or straddling an edge""",
        "lands on": "the kernel region that owns the address: vmalloc, fixmap, PCI I/O, ...",
        "warning": """a WARN that really fired. Fewer than hits is normal: WARN_ON_ONCE fires
            once, and logs lose events""",
        "Oops": """the kernel failed at a struct page (X on map and timeline, kind:fault in a
            filter): no call, but a row beside them; outside of the window it is proof as a hit
            is""",
        "derived": """a call (marked †) not observed itself, as kernels before 6.11 refuse the
            probe, but computed from the arguments of __add_pages / __remove_pages""",
        "sparse_add_section": "maps the struct pages of one section",
        "operation": "one memremap_pages or memunmap_pages with all it caused",
        "inconclusive": """events were lost or the window is not known: no hit was seen, but
            that proves nothing""",
    }.items()
)


def _entry(entry: tuple[str, str]) -> Horizontal:
    term, meaning = entry
    return Horizontal(
        Static(content(line((term, "bold"))), classes="term"),
        Static(Content(meaning), classes="meaning"),
        classes="entry",
    )


class HelpScreen(ModalScreen[None]):
    """A modal; escape, ? or q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss(None)", "Close"),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
    ]

    def __init__(self, keys: Sequence[tuple[str, str]] = KEYS) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        """Yield the scrolling box: three two-column lists."""
        marks = "  ".join(f"{words.mark(name)} {name}" for name in words.MARKS)
        marks += f"  {words.SILENT} silent"
        with VerticalScroll(classes="modal") as box:
            box.border_title = "Help"
            box.border_subtitle = "esc closes"
            yield Static(content(line(("Keys", "bold $primary"))))
            yield from map(_entry, self._keys)
            yield Static(content(line(("Words", "bold $primary"))), classes="heading")
            yield from map(_entry, (*WORDS, ("marks", marks)))
            yield Static(content(line(("Filter", "bold $primary"))), classes="heading")
            yield from map(_entry, TERMS)

    def action_scroll(self, by: int) -> None:
        """Scroll the text by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)
