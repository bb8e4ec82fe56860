# SPDX-License-Identifier: GPL-2.0-only
"""The bar at the bottom: position and speed of the replay, or the state of the live capture."""

from dataclasses import dataclass

from recordings.wording.escape import printable
from tui.playback.replay import MAX_SPEED, LiveStatus, PlayerView
from tui.widgets import words
from tui.widgets.panel import MUTED, Line, Panel, line


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


def speed_text(speed: float) -> str:
    """Return a speed as "0.25x" or "max"."""
    return "max" if speed == MAX_SPEED else f"{speed:g}x"


class ReplayBar(Panel[Facts]):
    """One line; the progress graph takes the width the text leaves."""

    def facts(self, view: PlayerView) -> Facts:
        """Return position, time, speed and state."""
        if view.live is not None:
            state = "‖ PAUSED" if view.paused else "■ ended" if view.at_end else "► LIVE"
            return Facts(view.row, view.rows, 0, 0, 1.0, state, view.note, view.live)
        state = "■ end" if view.at_end else "‖ paused" if view.paused else "► playing"
        return Facts(
            view.row, view.rows, view.elapsed_ns, view.length_ns, view.speed, state, view.note, None
        )

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return the bar; at the left what changes most, at the right what rarely does."""
        if facts.live is not None:
            return [live_line(facts, facts.live, width)]
        left = f"{facts.state:<9} "
        length = words.seconds(facts.length_ns)
        moment = f"{facts.elapsed_ns / 1e9:.3f}".rjust(len(length) - 2)
        clock = f" {moment} / {length}"
        digits = len(words.count(facts.rows))
        tail = [
            f"  {speed_text(facts.speed):>5}",
            f"  event {words.count(facts.row):>{digits}} of {words.count(facts.rows)}",
        ]
        if facts.note:
            tail.insert(0, f"  {facts.note}")
        while len(tail) > 1 and width - len(left + clock + "".join(tail)) < 10:
            tail.pop()
        room = max(0, width - len(left + clock + "".join(tail)))
        part = facts.elapsed_ns / facts.length_ns if facts.length_ns else float(facts.row > 0)
        full = min(room, round(room * part))
        return [
            line(
                (left, "bold $primary"),
                ("━" * full, "$primary"),
                ("─" * (room - full), MUTED),
                (clock, "bold"),
                ("".join(tail), ""),
            )
        ]


def live_line(facts: Facts, live: LiveStatus, width: int) -> Line:
    """Return state, recording, time, events and rate; what does not fit goes from the right."""
    if facts.state == "‖ PAUSED":
        state = (
            f"{facts.state}, {words.calls(live.since, 'event')} since",
            "bold reverse $warning",
        )
    else:
        state = (facts.state, "bold $primary")
    if live.file and live.failure:
        recording = (f"■ REC stopped: {printable(live.file)}", "bold $error")
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
    while len(parts) > 1 and sum(len(text) + 3 for text, _ in parts) - 3 > width:
        # The recording is what matters most, but for the state; the engine least.
        parts.pop(-1 if parts[-1] is not recording or len(parts) <= 2 else -2)
    spaced: list[str | tuple[str, str]] = []
    for part in parts:
        spaced += ["   ", part] if spaced else [part]
    return line(*spaced)
