# SPDX-License-Identifier: GPL-2.0-only
"""Reads a trace-cmd file (trace.dat) through the trace-cmd program.

Promises: the program gets the open file, never a name; no shell, no plugins; it is ended when we
stop reading, and by the kernel when we end, however that is; it is not waited for for ever, and
not read without end. Its stderr is kept for the error message, and its exit code is checked.
Functions are found by the symbols in the file. trace-cmd 3.1.6 exits with 0 and prints nothing for
most files that are cut short: so an empty report is an error. Some damaged files make it loop.
"""

import os
import re
import select
import shutil
import subprocess
import sys
import threading
import time
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
#: How long the program may be silent while it reports, and for how long the questions about the
#: file may take, all of them together.
SILENCE_S: Final = 60
QUERIES_S: Final = 30
#: The most text a file may become: for each of its bytes, and of a small one. An event of 36 bytes
#: becomes a line of 130, and trace-cmd packs a storm 20:1.
TEXT_RATIO: Final = 1024
TEXT_FLOOR: Final = 64 << 20
_TICK_S: Final = 1.0  # of waiting; a stop (Ctrl-Z) counts as one
#: Runs in the child before the program. PR_SET_PDEATHSIG: whatever ends us, SIGKILL too, ends it;
#: our id is compared as that may have happened before. No core file is left of a crash either.
_GUARD: Final = """
import os, resource, sys
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
except (ImportError, OSError, AttributeError):
    pass
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
if os.getppid() == int(sys.argv[1]):
    try:
        os.execv(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(error.strerror)
"""
_MOST_OUTPUT: Final = 64 << 20  # bytes of a query's output; a large kernel's kallsyms are 10 MiB
_STDERR: Final = 4096  # bytes kept
_LOOPS: Final = (
    "trace-cmd reads in it without end, as in some files that are damaged: copy it again, or try a"
    " newer trace-cmd: trace-cmd report -t FILE > TEXT"
)
_ENDLESS: Final = (
    "trace-cmd prints more of it than a file of its size can hold, as of some files that are"
    " damaged: copy it again"
)
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
        LogError: trace-cmd is not installed, or gives no answer.
        OSError: trace-cmd cannot be run.
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
        self._patience = float(QUERIES_S)
        clock = _CLOCK.search(self._query("dump", "--clock"))
        self.clock = clock[1].decode() if clock else None
        uname = _UNAME.search(self._query("report", "-N", "--uname"))
        self.arch: str | None = None
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
            LogError: trace-cmd cannot read the file or does not end, or its times are not
                nanoseconds.
            OSError: trace-cmd cannot be run.
        """
        reported = 0
        most = TEXT_FLOOR + TEXT_RATIO * os.fstat(self._file).st_size
        command = self._command("report", "-N", "-t")
        with _Report(command, self._file, silence=SILENCE_S, most=most) as report:
            self._log = TraceCmdLog(report, names=self._names, block=self._block)
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
        """Return the beginning of trace-cmd's output; nothing if it fails.

        Raises:
            LogError: no answer in the time that is left for all queries.
        """
        command = self._command(*arguments)
        with _Report(command, self._file, silence=self._patience, most=None) as report:
            pieces, left = [], _MOST_OUTPUT
            while left > 0 and (piece := report.read1(left)):
                pieces.append(piece)
                left -= len(piece)
            self._patience -= report.waited
        return b"".join(pieces)

    def _symbols(self) -> dict[int, str]:
        symbols = _SYMBOL.findall(self._query("report", "-N", "-f"))
        # All are 0 where kptr_restrict hid them.
        return {int(address, 16): name.decode() for address, name in symbols if int(address, 16)}


class _Report:
    """A run of trace-cmd on an open file, ended when the context is left; it reads as its text.

    ``silence``: for how many seconds it may say nothing. ``most``: how many bytes it may say.
    ``waited``: seconds that were spent on waiting for it.
    """

    def __init__(
        self, command: Sequence[str], file: int, *, silence: float, most: int | None
    ) -> None:
        self._silence = silence
        self._left = most
        self.waited = 0.0
        # A child's parent is the thread that started it: it ends with that, too.
        self._process = subprocess.Popen(  # noqa: S603 (a list, no shell)
            [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(file,),
            env=os.environ | {"LC_ALL": "C"},
        )
        self._stdout: IO[bytes] = cast("IO[bytes]", self._process.stdout)
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

    def read1(self, size: int) -> bytes:
        """Return up to ``size`` of the next bytes of its text, b"" at the end.

        Raises:
            LogError: there is none, or too much.
        """
        silent = 0.0
        while True:
            began = time.monotonic()
            ready = select.select([self._stdout], [], [], min(_TICK_S, self._silence))[0]
            passed = min(time.monotonic() - began, _TICK_S)
            silent += passed
            self.waited += passed
            if ready:
                break
            if silent >= self._silence:
                raise LogError(_LOOPS)
        data = os.read(self._stdout.fileno(), min(size, _MOST_OUTPUT))
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise LogError(_ENDLESS)
        return data

    read = read1

    def failure(self) -> str | None:
        """Wait for the end of the program; return why it failed, None if it did not.

        Raises:
            LogError: it closed its output and does not end.
        """
        try:
            code = self._process.wait(self._silence)
        except subprocess.TimeoutExpired as error:
            raise LogError(_LOOPS) from error
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
        self._stdout.close()
        self._stderr.close()
