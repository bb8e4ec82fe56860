#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""6.1: `record` started over and over under a load, and interrupted at random moments.

Each run leaves /out/N.arrows, and a line of /out/runs (JSON): the signal, the command, what was on
the disk right before the signal as a reader saw it, the exit code, and what the kernel still had of
it right after the end and half a minute later, or after the next start where the shell that cleans
up was killed, too. The seed is fixed; how far a run gets is the machine's.
"""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

RUNS = 50
OUT = Path("/out")
TRACING = Path("/sys/kernel/tracing")
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
OPTIONS = ((), ("--duration", "300s"), ("--", "sleep", "300"))
#: Inside the window, and in the unused hole, where each of four sections has its WARN.
LOAD = """
while :; do
    insmod /lab/ko/devpriv.ko start=0x2000000000 size_mb=512 && rmmod devpriv
    sleep 0.2
    insmod /lab/ko/devpriv.ko start=0x5000000000 size_mb=512 && rmmod devpriv
    sleep 0.2
done
"""


def left() -> list[str]:
    """Return all that the kernel has of any recorder."""
    events = re.findall(r"^\S+", (TRACING / "kprobe_events").read_text(), re.MULTILINE)
    instances = [path.name for path in (TRACING / "instances").iterdir()]
    probes = Path("/sys/kernel/debug/kprobes/list").read_text().splitlines()
    programs = subprocess.run(
        ["bpftool", "prog", "list"], capture_output=True, text=True, check=False
    ).stdout
    return [*events, *instances, *probes, *re.findall(r"name (on_\w+)", programs)]


def gone(timeout_s: float) -> list[str]:
    """Wait until nothing is left; return what is left after that time."""
    deadline = time.monotonic() + timeout_s
    while (rest := left()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return rest


def on_disk(path: Path) -> dict[str, Any]:
    """Return what a reader finds in a file that is being written: its bytes, and whole rows."""
    try:
        data = path.read_bytes()
    except OSError:
        return {"bytes": 0, "rows": 0, "sha256": hashlib.sha256().hexdigest()}
    rows = 0
    try:
        with pa.ipc.open_stream(pa.BufferReader(data)) as stream:
            while True:
                rows += stream.read_next_batch().num_rows
    except (StopIteration, pa.ArrowInvalid, OSError):
        pass
    return {"bytes": len(data), "rows": rows, "sha256": hashlib.sha256(data).hexdigest()}


def shells(process: int) -> list[int]:
    """Return a process's children: the shell that cleans up after it is one."""
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        if int(fields[1]) == process:
            children.append(int(path.parent.name))
    return children


def run(number: int, choose: random.Random) -> dict[str, Any]:
    """Record, interrupt, and see what is left."""
    path = OUT / f"{number}.arrows"
    name = choose.choice(SIGNALS)
    engine, options = choose.choice(("tracefs", "bcc")), choose.choice(OPTIONS)
    both = name == "SIGKILL" and engine == "tracefs" and choose.random() < 0.3
    # most of them while it records; some while it starts
    recording, delay_s = choose.random() < 0.8, choose.uniform(0, 2)
    command = ["vmemscope", "record", "--engine", engine, "-o", str(path), *options]
    with (OUT / f"{number}.text").open("w") as text:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=text, stderr=text, start_new_session=True
        )
        deadline = time.monotonic() + 120
        while recording and process.poll() is None and time.monotonic() < deadline:
            if on_disk(path)["rows"]:
                break
            time.sleep(0.1)
        time.sleep(delay_s)
        before = on_disk(path)
        victims = shells(process.pid) if both else []
        started = time.monotonic()
        process.send_signal(signal.Signals[name])
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
    # what a COMMAND of a killed recorder does is its own affair, and no probe
    at_once = left()
    if both:
        subprocess.run(
            [*command[:4], "-o", f"{path}.next", "--duration", "0.1s"],
            capture_output=True,
            check=False,
        )
    return {
        "number": number,
        "signal": name,
        "command": command,
        "shell_killed": both,
        "before": before,
        "exit_code": code,
        "seconds": time.monotonic() - started,
        "left_at_once": at_once,
        "left": gone(30),
    }


def main() -> None:
    """Run them all."""
    Path("/proc/sys/kernel/printk").write_text("1")
    choose = random.Random(13)  # noqa: S311 (no secret)
    with (OUT / "runs").open("w") as runs:
        load = subprocess.Popen(["sh", "-c", LOAD], start_new_session=True)
        for number in range(RUNS):
            made = run(number, choose)
            print(json.dumps(made), file=runs, flush=True)
            Path("/dev/console").write_text(f"LAB: {number} {made['signal']}\n")
        os.killpg(load.pid, signal.SIGKILL)
        subprocess.run(["vmemscope", "doctor"], capture_output=True, check=False)  # cleans up, too
        (OUT / "left").write_text("\n".join(gone(30)))


if __name__ == "__main__":
    main()
