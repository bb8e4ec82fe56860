# SPDX-License-Identifier: GPL-2.0-only
"""What stops a recording, and who follows it: signals, commands, readers, systemd."""

import errno
import os
import signal
import socket
import subprocess

import pytest

from tests.recordings.made import PATIENCE_S, wait_for
from tests.tui.processes import ENDLESS, ROOT, command, early, ended, record, started, until, whole
from tui.capturing.pipe import Pipe
from tui.capturing.session import panics

STOPPING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]


def test_a_stream_arrives_while_it_is_made():
    got = b""
    with started({"held": 50}, "-o", "-") as process:
        while b"insmod" not in got:  # comm: an event's text, in an LZ4 block's literals
            got += os.read(process.stdout.fileno(), 1 << 16)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.stdout.buffer.read()
    assert process.returncode == 1  # 50 events hold out-of-range calls


def test_a_reader_that_goes_away_ends_it_with_one_line():
    line = " ".join(f"'{part}'" for part in command(ENDLESS, "record", "-o", "-"))
    done = subprocess.run(
        ["bash", "-c", f"{line} | head -c 9000 >/dev/null; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=PATIENCE_S * 2,
    )
    assert done.stdout == "2\n"
    assert "events could not be written" in done.stderr
    assert "Broken pipe" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_ends_it_with_a_whole_file(tmp_path, number):
    path = tmp_path / "a.arrows"
    process = started(ENDLESS, "-o", path)
    wait_for(lambda: path.stat().st_size > 20_000)
    process.send_signal(number)
    err = ended(process)
    assert process.returncode == 1
    recording = whole(path)
    assert recording.ended == number.name
    assert recording.closing_notes == (f"{recording.rows} events were sent by the feed",)
    assert f"{recording.rows:,} events" in err


def test_many_signals_do_no_harm(tmp_path):
    path = tmp_path / "a.arrows"
    process = started(ENDLESS, "-o", path)
    wait_for(lambda: path.stat().st_size > 20_000)
    while process.poll() is None:
        for number in STOPPING:
            process.send_signal(number)
    # After the last message a signal may end it as it ends any process.
    assert process.returncode in (1, *(-number for number in STOPPING))
    process.communicate()
    assert whole(path).ended in [number.name for number in STOPPING]


def test_what_is_ignored_from_outside_stays_ignored(tmp_path):
    path = tmp_path / "a.arrows"
    process = started(
        {"rate": 2000, "rounds": 2},
        "-o",
        path,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: path.stat().st_size > 20_000)
    process.send_signal(signal.SIGTERM)
    ended(process)
    assert whole(path).ended == "SIGTERM"


def test_signals_are_handed_on_to_the_command(tmp_path):
    path = tmp_path / "a.arrows"
    # wait is interrupted by a trap, sleep is not
    script = "trap 'echo got >&2; kill $!; exit 7' HUP; sleep 100 & echo go >&2; wait"
    process = started({}, "-o", path, "--", "sh", "-c", script)
    assert process.stderr.readline() == "go\n"
    process.send_signal(signal.SIGHUP)
    err = ended(process).splitlines()
    assert err[:2] == ["got", "sh ended with status 7"]
    assert early(path) == "SIGHUP before the command ended"


def test_a_second_signal_does_not_wait_for_the_command(tmp_path):
    path = tmp_path / "a.arrows"
    script = 'trap "" TERM INT; echo $$ >&2; while :; do sleep 0.1; done'
    process = started({}, "-o", path, "--", "sh", "-c", script)
    pid = int(process.stderr.readline())
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    try:
        while not (line := process.stderr.readline()).startswith("sh "):
            assert line
        assert line == f"sh (pid {pid}) still runs: not waited for\n"
        assert process.wait(PATIENCE_S) == 1
    finally:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    # whichever was delivered first
    assert early(path) in ("SIGTERM before the command ended", "SIGINT before the command ended")


def test_a_killed_command_is_reported(tmp_path):
    script = f"{until(tmp_path)}; kill -9 $$"
    spec = {"done": f"{tmp_path}/done"}
    done = record(spec, "-o", tmp_path / "a.arrows", "--", "sh", "-c", script)
    assert "sh was killed by SIGKILL" in done.stderr
    assert done.returncode == 1


def test_duration_ends_it(tmp_path):
    path = tmp_path / "a.arrows"
    done = record(ENDLESS, "-o", path, "--duration", "0.5s")
    assert done.returncode == 1
    assert whole(path).ended == "duration over"


@pytest.mark.parametrize("streams", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_nobody_listening_loses_nothing_and_nothing_gets_into_the_file(tmp_path, streams):
    path = tmp_path / "a.arrows"
    script = f"echo data; echo words >&2; {until(tmp_path)}"
    spec = {"done": f"{tmp_path}/done"}
    args = command(spec, "record", "-o", path, "--", "sh", "-c", script)
    line = " ".join(f"'{part}'" for part in args)
    done = subprocess.run(["sh", "-c", f"{line} {streams}"], check=False, cwd=ROOT)
    assert done.returncode == 1
    assert whole(path).rows == 1544


def test_systemd_is_notified(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        process = started(ENDLESS, "-o", tmp_path / "a.arrows", env=environment)
        received = manager.recv(4096).decode().splitlines()
        assert received == ["READY=1", f"STATUS=recording to {tmp_path / 'a.arrows'}"]
        process.send_signal(signal.SIGTERM)
        assert manager.recv(4096) == b"STOPPING=1"
        ended(process)


@pytest.mark.parametrize(
    ("warn", "oops", "settings"),
    [("0", "0", []), ("1", "0", ["panic_on_warn"]), ("1", "1", ["panic_on_warn", "panic_on_oops"])],
)
def test_settings_that_end_the_machine_are_warned_of(tmp_path, warn, oops, settings):
    folder = tmp_path / "proc" / "sys" / "kernel"
    folder.mkdir(parents=True)
    (folder / "panic_on_warn").write_text(f"{warn}\n")
    (folder / "panic_on_oops").write_text(f"{oops}\n")
    lines = list(panics(tmp_path))
    assert [line.partition(" ")[0] for line in lines] == [f"kernel.{name}" for name in settings]
    assert all("record -o - | ssh" in line for line in lines)


def test_without_these_settings_nothing_is_warned_of(tmp_path):
    assert list(panics(tmp_path)) == []


def test_a_hung_reader_does_not_keep_the_probes_on():
    read, write = os.pipe()
    stream = Pipe(write)
    stream.give_up(0)

    def fill() -> None:
        while stream.write(bytes(100_000)):
            pass

    with pytest.raises(OSError, match="takes nothing more") as caught:
        fill()
    assert caught.value.errno == errno.ETIMEDOUT
    os.close(read)
    stream.close()
