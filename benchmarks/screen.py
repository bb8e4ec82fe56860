# SPDX-License-Identifier: GPL-2.0-only
"""What the dashboard costs: ``python -m benchmarks.screen``.

A storm grown to some million events is played on a pseudo-terminal of 160x50, at 64 times true time
and at true time. The peer is the obvious way in the same run: Textual's DataTable, rebuilt from the
same views' newest calls at each tick. Figures are of one process each; only their ratios mean
something on another machine.
"""

import argparse
import fcntl
import json
import os
import pty
import random
import resource
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.drivers.linux_driver import LinuxDriver
from textual.widgets import DataTable

from benchmarks.grow import grow
from recordings.format.reader import Recording, open_recording
from recordings.samples import sample_path
from tui.dashboard.app import ReplayApp
from tui.dashboard.scope_app import ViewPublished
from tui.dashboard.scope_app import __file__ as style_of
from tui.dashboard.terminal import TerminalDriver
from tui.playback.player import Player, Replay
from tui.playback.view import PlayerView

_SIZE = (160, 50)
_SEEKS = 60
_BEGAN = time.perf_counter()


class Measured:
    """Counts views, the time each takes to be painted, and the bytes written to the terminal."""

    def __init__(self) -> None:
        self.ticks: list[float] = []  # seconds
        self.bytes = 0
        self.frames: dict[str, float] = {}  # seconds from the start of the process
        for kind in (LinuxDriver, TerminalDriver):  # the peer's, and ours, which has its own
            self._count_bytes(kind)

    def _count_bytes(self, kind: type[LinuxDriver]) -> None:
        inner = kind.write

        def write(driver: LinuxDriver, data: str) -> None:
            self.bytes += len(data.encode())
            inner(driver, data)

        setattr(kind, "write", write)  # noqa: B010

    def painted(self, began: float, view: PlayerView) -> None:
        """A view that came at ``began`` is on the screen."""
        now = time.perf_counter()
        self.ticks.append(now - began)
        self.frames.setdefault("first", now - _BEGAN)
        if view.final:
            self.frames.setdefault("whole", now - _BEGAN)


class Ours(ReplayApp):
    """The dashboard, measured."""

    CSS_PATH = str(Path(style_of).with_name("style.tcss"))
    measured: Measured

    def on_view_published(self, message: ViewPublished) -> None:
        """Show a view, and note when it is painted (the base class's handler shows it)."""
        began = time.perf_counter()
        self.call_after_refresh(self.measured.painted, began, message.view)


class Peer(App[None]):
    """A DataTable of the newest calls, cleared and filled at each view."""

    measured: Measured
    COLUMNS: ClassVar = ("time", "call", "start", "end", "regime", "lands on", "task", "cpu")

    def __init__(self, recording: Recording, *, speed: float) -> None:
        super().__init__()
        self.player = Player(Replay(recording, speed=speed))

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield DataTable()

    def on_ready(self) -> None:
        """Play."""
        self.query_one(DataTable).add_columns(*self.COLUMNS)
        self.run_worker(partial(self.player.run, self._publish), thread=True, exit_on_error=False)

    def on_unmount(self) -> None:
        """End the player."""
        self.player.stop()

    def _publish(self, view: PlayerView) -> None:
        self.post_message(ViewPublished(view))

    def on_view_published(self, message: ViewPublished) -> None:
        """Fill the table again."""
        began = time.perf_counter()
        table = self.query_one(DataTable)
        table.clear()
        for call in message.view.snapshot.newest[::-1]:
            table.add_row(
                f"{call.ts_ns / 1e9:.6f}", call.kind.name, f"0x{call.start or 0:016x}",
                f"0x{call.end or 0:016x}", call.regime, call.lands_on, f"{call.comm}-{call.tid}",
                str(call.cpu),
            )  # fmt: skip
        self.call_after_refresh(self.measured.painted, began, message.view)


def child(what: str, path: Path, speed: float, seconds: float, out: Path) -> None:
    """Play, measure, seek, and write the figures to ``out``."""
    with open_recording(path) as recording:
        app: Any = (Ours if what == "ours" else Peer)(recording, speed=speed)
        measured = app.measured = Measured()
        found: dict[str, float] = {}

        def drive() -> None:
            while "whole" not in measured.frames:
                time.sleep(0.01)
            time.sleep(0.5)
            ticks, sent = len(measured.ticks), measured.bytes
            began, cpu = time.perf_counter(), time.process_time()
            time.sleep(seconds)
            lasted = time.perf_counter() - began
            found["cpu"] = 100 * (time.process_time() - cpu) / lasted
            if measured.bytes == sent:
                raise RuntimeError("nothing was counted on its way to the terminal")
            found["bytes"] = (measured.bytes - sent) / lasted
            played = sorted(measured.ticks[ticks:]) or [0.0]
            found["views"] = len(played) / lasted
            found["median"] = 1e3 * played[len(played) // 2]
            found["p99"] = 1e3 * played[int(len(played) * 0.99)]
            found["worst"] = 1e3 * played[-1]
            seeks = []
            chance = random.Random(1)  # noqa: S311 (the same seeks each time)
            app.player.replay.paused = True
            for _ in range(_SEEKS):
                row, before = chance.randrange(recording.rows), len(measured.ticks)
                began = time.perf_counter()
                app.player.send(partial(Replay.seek_row, position=row))
                while len(measured.ticks) == before and time.perf_counter() - began < 5:
                    time.sleep(0.0002)
                seeks.append(time.perf_counter() - began)
            found["seek"] = 1e3 * sorted(seeks)[int(_SEEKS * 0.99)]
            app.call_from_thread(app.exit)

        threading.Thread(target=drive, daemon=True).start()
        app.run()
    found |= {"first": 1e3 * measured.frames["first"], "whole": 1e3 * measured.frames["whole"]}
    found["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out.write_text(json.dumps(found))


def measure(what: str, path: Path, speed: float, seconds: float) -> dict[str, float]:
    """Run a child on a pseudo-terminal and return its figures."""
    main, side = pty.openpty()
    fcntl.ioctl(main, termios.TIOCSWINSZ, struct.pack("HHHH", _SIZE[1], _SIZE[0], 0, 0))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures"
        command = [sys.executable, "-m", "benchmarks.screen", "--child", what, str(path)]
        process = subprocess.Popen(
            [*command, "--speed", str(speed), "--seconds", str(seconds), "--out", str(out)],
            stdin=side, stdout=side, stderr=side, start_new_session=True,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "50"},
        )  # fmt: skip
        os.close(side)
        last = b""
        try:
            while part := os.read(main, 1 << 16):
                last = part
        except OSError:  # the child has ended
            pass
        process.wait()
        os.close(main)
        if not out.is_file():
            raise SystemExit(f"the child failed: {last.decode(errors='replace')}")
        figures: dict[str, float] = json.loads(out.read_text())
    return figures


def main() -> None:
    """Print the table, or be the child."""
    parser = argparse.ArgumentParser(prog="benchmarks.screen")
    parser.add_argument("--events", type=int, default=3_000_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--child", choices=("ours", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("path", nargs="?", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--speed", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.path, options.speed, options.seconds, options.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grown.arrows"
        grow(sample_path("storm"), path, options.events)
        print(f"{options.events:,} events grown from the storm, {_SIZE[0]}x{_SIZE[1]}")
        for speed in (64.0, 1.0):
            ours, peer = (measure(what, path, speed, options.seconds) for what in ("ours", "peer"))
            print(f"{speed:g}x{'':>28}{'ours':>12}{'peer':>12}{'peer/ours':>12}")
            for key, label in _LABELS.items():
                ratio = peer[key] / ours[key] if ours[key] else 0
                print(f"  {label:<28}{ours[key]:>12,.1f}{peer[key]:>12,.1f}{ratio:>12.1f}")


_LABELS = {
    "median": "a tick, median, ms",
    "p99": "a tick, p99, ms",
    "worst": "a tick, worst, ms",
    "views": "views a second",
    "bytes": "bytes to the terminal a s",
    "cpu": "share of a core, %",
    "seek": "a seek, p99, ms",
    "first": "first frame, ms",
    "whole": "all read, ms",
    "rss": "peak RSS, MiB",
}

if __name__ == "__main__":
    main()
