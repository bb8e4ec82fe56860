# SPDX-License-Identifier: GPL-2.0-only
"""Opens engine bcc in a thread of its own: BCC compiles for long and in C, while Python goes on.

Imports as little as it can, so that compiling begins before ``examine`` is even loaded; what the
engine itself needs is imported once it has its program.
"""

from pathlib import Path
from threading import Thread
from typing import Self

from tracers.live.bcc.find_module import find_bcc
from tracers.live.bcc.program import RING_BYTES, compile_program
from tracers.live.bcc.program import program as source
from tracers.live.probes.engine import Engine, LiveError
from tracers.live.probes.points import ALL, Filters


class Early:
    """Engine bcc for all WARNs and calls there are, before the kernel is known."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._engine: Engine | None = None
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self) -> Engine:
        """Return the engine, or raise what opening raised; it is then the caller's to close."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._engine is None:
            raise RuntimeError("the engine was taken before")
        engine, self._engine = self._engine, None
        return engine

    def close(self) -> None:
        """Wait for the thread; close what nobody took. Safe to call again."""
        self._thread.join()
        if self._engine is not None:
            engine, self._engine = self._engine, None
            engine.close()

    def _run(self) -> None:
        try:
            self._engine = open_bcc(self._root)
        except BaseException as error:  # noqa: BLE001 (raised where the engine is taken)
            self._error = error


def open_bcc(root: Path) -> Engine:
    """Open the engine, its program first. Raises what opening it without that raises."""
    failed, program = None, None
    try:
        program = compile_program(find_bcc(root).BPF, source(Filters(), ALL, RING_BYTES))
    except (LiveError, OSError) as error:
        failed = error

    def compiled() -> object:
        if failed is not None:
            raise failed
        return program

    from tracers.live.bcc.engine import BccEngine  # noqa: PLC0415 (NumPy: see above)

    # what it lacks besides BCC, it tells first
    return BccEngine(root, ours=ALL, compiled=compiled)
