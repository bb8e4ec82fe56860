# SPDX-License-Identifier: GPL-2.0-only
"""Reads a trace-cmd file (trace.dat) through the trace-cmd program.

Promises: the program gets the open file, never a name; no shell, no plugins; it is ended when we
stop reading; its stderr is kept for the error message, and its exit code is checked. Functions are
found by the symbols in the file. trace-cmd 3.1.6 exits with 0 and prints nothing for most files
that are cut short: so an empty report is an error.
"""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Final, Self, cast

from tracers.batch import Batch, Losses
from tracers.kernel_functions import KINDS
from tracers.logs.kprobe_text.definitions import ProbeLocation
from tracers.logs.kprobe_text.function_names import FunctionNames
from tracers.logs.kprobe_text.rows import NO_ROWS
from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.kprobe_text.trace_cmd_report import TraceCmdLog
from tracers.logs.line_blocks import BLOCK

if TYPE_CHECKING:
    from io import BufferedReader

MAGIC: Final = b"\x17\x08\x44tracing"
_PROGRAM: Final = "trace-cmd"
_MISSING: Final = (
    "a trace-cmd file is read through the program trace-cmd, which is not installed (package "
    "trace-cmd of Debian, Ubuntu, Fedora, RHEL, openSUSE, Arch); or run it elsewhere, its text is "
    "read too: trace-cmd report -t FILE > TEXT"
)
_QUERY_TIMEOUT_S: Final = 60  # for one query about the file
_MOST_OUTPUT: Final = 64 << 20  # bytes of a query's output; a large kernel's kallsyms are 10 MiB
_STDERR: Final = 4096  # bytes kept
_SYMBOL: Final = re.compile(
    rb"^([0-9a-f]{8,16}) (%s)(?:\.(?:isra|constprop|lto_priv|llvm)\.\d+)*\r?$"
    % b"|".join(name.encode() for name in KINDS),
    re.MULTILINE,
)
_CLOCK: Final = re.compile(
    rb"\[(local|global|counter|uptime|perf|mono|mono_raw|boot|tai|x86-tsc)\]"
)
_UNAME: Final = re.compile(rb"^Linux \S* ?(\S+) (\S+)$", re.MULTILINE)
#: The kernel's own counts of what its ring buffers dropped, by CPU (option CPUSTAT).
_DROPPED: Final = re.compile(
    rb"^(?:overrun|commit overrun|dropped events): (\d{1,18})$", re.MULTILINE
)


def looks_like_trace_cmd_file(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is one that trace-cmd wrote."""
    return head.startswith(MAGIC)


class TraceCmdFile:
    """One pass over an open trace-cmd file.

    ``clock``: name of the trace clock, None if the file does not say; ``release``: of the kernel;
    ``dropped``: events that its ring buffers lost, as the kernel counted them. ``probes``,
    ``lines``, ``notes`` as in ``TextLog``, complete once ``batches`` is exhausted.

    Raises:
        LogError: trace-cmd is not installed.
    """

    def __init__(
        self, file: int, *, locations: Mapping[str, ProbeLocation] | None = None, block: int = BLOCK
    ) -> None:
        """Take the descriptor ``file`` of a regular file; it stays the caller's to close."""
        program = shutil.which(_PROGRAM)
        if program is None:
            raise LogError(_MISSING)
        self._program = program
        self._file = file
        clock = _CLOCK.search(self._query("dump", "--clock"))
        self.clock = clock[1].decode() if clock else None
        uname = _UNAME.search(self._query("report", "-N", "--uname"))
        self.release = uname[1].decode("utf-8", "backslashreplace") if uname else None
        self.dropped = sum(map(int, _DROPPED.findall(self._query("report", "-N", "--stat"))))
        self._names = FunctionNames(locations, self._symbols())
        self._block = block
        self._log: TraceCmdLog | None = None
        self._failure: str | None = None

    @property
    def probes(self) -> dict[str, str]:
        """Functions seen so far: "entry", "return" or "entry+return"."""
        return self._log.probes if self._log else {}

    @property
    def lines(self) -> int:
        """Lines of the report so far."""
        return self._log.lines if self._log else 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the recording should know, a sentence each."""
        stopped = (f"trace-cmd stopped: {self._failure}",) if self._failure else ()
        return (*(self._log.notes if self._log else ()), *stopped)

    def batches(self) -> Iterator[Batch]:
        """Yield the events block by block, with what is missing around them.

        Raises:
            LogError: trace-cmd cannot read the file, or its times are not nanoseconds.
            OSError: trace-cmd cannot be run.
        """
        reported = 0
        with _Report(self._command("report", "-N", "-t"), self._file) as report:
            self._log = TraceCmdLog(report.stdout, names=self._names, block=self._block)
            for batch in self._log.batches():
                reported += batch.losses.lost
                # The kernel's count includes the losses that marks without a number stand for.
                counted = replace(batch.losses, lost_unknown=0) if self.dropped else batch.losses
                yield replace(batch, losses=counted)
            self._failure = report.failure()
        if not self._log.lines:
            why = self._failure or "it says nothing of it, as of a file that is cut short"
            raise LogError(f"trace-cmd cannot read it: {why}")
        if self._failure:
            yield Batch(NO_ROWS, Losses(torn=1))
        if self.dropped > reported:
            yield Batch(NO_ROWS, Losses(lost=self.dropped - reported))

    def _command(self, *arguments: str) -> list[str]:
        return [self._program, *arguments, "-i", f"/dev/fd/{self._file}"]

    def _query(self, *arguments: str) -> bytes:
        """Return the beginning of trace-cmd's output; nothing if it fails or hangs."""
        with _Report(self._command(*arguments), self._file) as report:
            timer = threading.Timer(_QUERY_TIMEOUT_S, report.close)
            timer.start()
            try:
                return report.stdout.read(_MOST_OUTPUT)
            finally:
                timer.cancel()

    def _symbols(self) -> dict[int, str]:
        symbols = _SYMBOL.findall(self._query("report", "-N", "-f"))
        # All are 0 where kptr_restrict hid them.
        return {int(address, 16): name.decode() for address, name in symbols if int(address, 16)}


class _Report:
    """A run of trace-cmd on an open file, ended when the context is left."""

    def __init__(self, command: Sequence[str], file: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (a list, no shell)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(file,),
            env=os.environ | {"LC_ALL": "C"},
        )
        self.stdout: IO[bytes] = cast("IO[bytes]", self._process.stdout)
        self._stderr = cast("BufferedReader", self._process.stderr)
        self._stderr_tail = b""
        self._listener = threading.Thread(target=self._listen, name="trace-cmd", daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _listen(self) -> None:
        """Keep the end of stderr: the last lines say why it ended."""
        while chunk := self._stderr.read1(_STDERR):
            self._stderr_tail = (self._stderr_tail + chunk)[-_STDERR:]

    def failure(self) -> str | None:
        """Wait for the end of the program; return why it failed, None if it did not."""
        code = self._process.wait()
        self._listener.join()
        if not code:
            return None
        message = " ".join(self._stderr_tail.decode("utf-8", "backslashreplace").split())
        return message or (f"exit code {code}" if code > 0 else f"killed by signal {-code}")

    def close(self) -> None:
        """Kill it if it still runs."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self.stdout.close()
        self._stderr.close()
