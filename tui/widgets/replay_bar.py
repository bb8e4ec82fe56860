# SPDX-License-Identifier: GPL-2.0-only
"""The bar at the bottom: position and speed of the replay, or the state of the live capture."""

from dataclasses import dataclass
from typing import Final

from recordings.explore.sums import Passed
from recordings.wording.escape import printable
from tui.playback.replay import MAX_SPEED
from tui.playback.view import LiveStatus, PlayerView
from tui.widgets import words
from tui.widgets.findings import Part, fit
from tui.widgets.panel import MUTED, Line, Panel, line

#: The state of a capture whose source has ended.
ENDED: Final = "■ ended"


@dataclass(frozen=True, slots=True)
class Facts:
    """The values of a view that the bar shows."""

    row: int
    rows: int
    elapsed_ns: int
    length_ns: int
    speed: float
    state: str
    note: str
    live: LiveStatus | None
    passed: Passed | None = None
    hits: int = 0  # of the whole recording, as far as it was read
    warnings: int = 0
    losses: str = ""
    clock_ns: int | None = None


def speed_text(speed: float) -> str:
    """Return a speed as "0.25x" or "max"."""
    return "max" if speed == MAX_SPEED else f"{speed:g}x"


class ReplayBar(Panel[Facts]):
    """One line: where the replay is, and what has passed of what there is."""

    def facts(self, view: PlayerView) -> Facts:
        """Return position, time, speed and state."""
        if view.live is not None:
            state = "‖ PAUSED" if view.paused else ENDED if view.at_end else "► LIVE"
            past = view.live.arrived is not None
            moment = (view.elapsed_ns, view.length_ns) if past else (0, 0)
            return Facts(view.row, view.rows, *moment, 1.0, state, view.note, view.live)
        state = "■ end" if view.at_end else "‖ paused" if view.paused else "► playing"
        snapshot = view.snapshot
        return Facts(
            view.row,
            view.rows,
            view.elapsed_ns,
            view.length_ns,
            view.speed,
            state,
            view.note,
            None,
            view.passed,
            snapshot.hits,
            snapshot.warnings,
            snapshot.losses.describe() if snapshot.losses else "lost 0",
            view.time_ns,
        )

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return the bar; at the left what changes most, at the right what rarely does."""
        if facts.live is not None:
            return [live_line(facts, facts.live, width)]
        length = words.seconds(facts.length_ns)
        moment = f"{facts.elapsed_ns / 1e9:.3f}".rjust(len(length) - 2)
        digits = len(words.count(facts.rows))
        parts = [
            Part(0, (f"{facts.state:<9}",), "bold $primary"),
            Part(0, (f"{moment} / {length}",), "bold"),
        ]
        if facts.note:
            parts.append(Part(0, (facts.note,), "bold $warning"))
        event = f"{words.count(facts.row):>{digits}}"
        told = f"event {event} of {words.count(facts.rows)}"
        parts.append(Part(2, (told, f"{event}/{words.count(facts.rows)}")))
        parts.append(Part(1, (f"{speed_text(facts.speed):>5}",)))
        if (passed := facts.passed) is not None:
            for what, here, all_of_them in (
                ("hits", passed.hits, facts.hits),
                ("WARNs", passed.warnings, facts.warnings),
            ):
                number = words.count(all_of_them)
                told = f"{what} {words.count(here):>{len(number)}} of {number}"
                parts.append(Part(3, (told,)))
        parts.append(Part(4, (facts.losses,), MUTED if facts.losses == "lost 0" else "$warning"))
        if facts.clock_ns is not None:
            parts.append(Part(5, (f"trace clock {facts.clock_ns / 1e9:.6f}",), MUTED))
        return [fit(parts, width, "   ")]


def live_line(facts: Facts, live: LiveStatus, width: int) -> Line:
    """Return state, recording, time, events and rate; what does not fit goes from the right."""
    if live.arrived is not None:
        events, hits = live.arrived
        came = f"+{words.calls(events, 'event')}, {words.calls(hits, 'hit')} arrived since"
        held = "‖ PAUSED, " if facts.state == "‖ PAUSED" else ""
        state = (f"{held}in the past · {came}", "bold reverse $accent")
    elif facts.state == "‖ PAUSED":
        state = (
            f"{facts.state}, {words.calls(live.since, 'event')} since",
            "bold reverse $warning",
        )
    else:
        state = (facts.state, "bold $primary")
    if live.file and live.failure:
        recording = (f"■ REC stopped: {printable(live.file)}", "bold $error")
    elif live.file and facts.state == ENDED:
        recording = (f"recorded {printable(live.file)} {words.size(live.size)}", "bold")
    elif live.file:
        recording = (f"● REC {printable(live.file)} {words.size(live.size)}", "bold $error")
    else:
        recording = ("○ not recorded", MUTED)
    minutes, seconds = divmod(live.elapsed_s, 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    parts = [
        state,
        (clock, "bold"),
        (words.calls(facts.rows, "event"), ""),
        (f"{words.count(live.rate)}/s", ""),
        recording,
        (f"engine {printable(live.engine)}", MUTED),
    ]
    if live.arrived is not None:
        moment = f"{facts.elapsed_ns / 1e9:.3f} of {words.seconds(facts.length_ns)}"
        parts.insert(1, (moment, "bold"))
    if facts.note:  # until something moves; a moment ago somebody asked for it
        note = words.clip(facts.note, max(0, width - len(state[0]) - 3))
        parts = [state, (note, "bold $warning")]
    while len(parts) > 1 and sum(len(text) + 3 for text, _ in parts) - 3 > width:
        # The recording is what matters most, but for the state; the engine least.
        parts.pop(-1 if parts[-1] is not recording or len(parts) <= 2 else -2)
    spaced: list[str | tuple[str, str]] = []
    for part in parts:
        spaced += ["   ", part] if spaced else [part]
    return line(*spaced)
