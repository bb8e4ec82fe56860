"""The replay bar: how far the replay is, its moment, speed and state."""

from dataclasses import dataclass

from tui.replay import MAX_SPEED, PlayerView
from tui.widgets import words
from tui.widgets.panel import MUTED, Line, Panel, line


@dataclass(frozen=True, slots=True)
class Facts:
    """What the bar shows of a view."""

    row: int
    rows: int
    elapsed_ns: int
    length_ns: int
    speed: float
    state: str
    note: str


def speed_text(speed: float) -> str:
    """Return a speed as "0.25x" or "max"."""
    return "max" if speed == MAX_SPEED else f"{speed:g}x"


class ReplayBar(Panel[Facts]):
    """One line; the graph takes what the words leave."""

    def facts(self, view: PlayerView) -> Facts:
        """Return position, time, speed and state."""
        state = "■ end" if view.at_end else "‖ paused" if view.paused else "► playing"
        return Facts(
            view.row, view.rows, view.elapsed_ns, view.length_ns, view.speed, state, view.note
        )

    def draw(self, facts: Facts, width: int, height: int) -> list[Line]:
        """Return the bar; at the left what changes most, at the right what rarely does."""
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
