# SPDX-License-Identifier: GPL-2.0-only
"""The command ``boot``: parameters on stdout, what they do on stderr, exit codes."""

import os
import subprocess
from pathlib import Path

import pytest

from recordings.format.reader import open_recording
from tests.kernels.files import LAB, kernel, raw_image
from tests.tracers.live.boot.planned import booted_machine
from tests.tui.in_process import error_of, run
from tracers.live.boot import collect as module
from tracers.live.boot.definitions import read_definitions
from tui.commands.boot import boot


def test_stdout_is_the_parameters_alone():
    done = run(boot, kernel(LAB))
    assert done.exit_code == 0
    (line,) = done.stdout.splitlines()
    names = [word.partition("=")[0] for word in line.split()]
    assert names == ["trace_clock", "trace_buf_size", "log_buf_len", "trace_event", "kprobe_event"]
    told = done.stderr
    assert "for 6.1.192-vmemlab, build id 3efcb224608b9fa782cc10ffbd19238962524dc0" in told
    assert "probes: vmemmap_populate: derived, sparse_add_section: callsite" in told
    assert f"command line: {len(line)} bytes of 2047" in told
    assert "vmemscope boot --collect -o FILE" in told


def test_expected_memory_sizes_the_buffer():
    small, large = (run(boot, kernel(LAB), "--expect", size).stdout for size in ("1G", "8T"))
    assert "trace_buf_size=1M log_buf_len=1M" in small
    assert "trace_buf_size=32M log_buf_len=16M" in large or "trace_buf_size=64M" in large
    assert "trace_buf_size=256K" in run(boot, kernel(LAB), "--buffer", "256K").stdout


def test_what_does_not_fit_is_said_and_is_a_gap():
    done = run(boot, kernel(LAB), "--beside", "1500")
    assert done.exit_code == 3
    assert len(done.stdout) <= 2048 - 1500
    assert "left out, as it does not fit: log_buf_len" in done.stderr
    assert "no room" in error_of(boot, kernel(LAB), "--beside", "2047")


def test_a_file_for_grub_is_a_shells():
    done = run(boot, kernel(LAB), "--form", "grub")
    assert done.exit_code == 0
    subprocess.run(
        ["sh", "-eu"], input=f"GRUB_CMDLINE_LINUX=\n{done.stdout}", text=True, check=True
    )
    assert "/etc/default/grub.d/vmemscope.cfg" in done.stderr


def test_a_boot_configuration_is_refused_where_the_kernel_reads_none():
    assert "CONFIG_BOOTTIME_TRACING=n" in error_of(boot, kernel(LAB), "--form", "bootconfig")


@pytest.mark.parametrize("form", ["cmdline", "grub", "bootconfig"])
def test_undo_is_commands_of_the_shell(form, tmp_path, captures):
    done = run(boot, "--undo", "--form", form)
    assert (done.exit_code, done.stderr) == (0, "")
    subprocess.run(["sh", "-n"], input=done.stdout, text=True, check=True)
    tracing = booted_tracing(tmp_path, captures)
    script = done.stdout.partition("cd /sys/kernel/tracing\n")[2]
    subprocess.run(["sh", "-eu"], input=script, text=True, check=True, cwd=tracing)
    removed = (tracing / "kprobe_events").read_text().splitlines()[16:]
    assert len(removed) == 16
    off = (tracing / "set_event").read_text().splitlines()
    assert [line.replace("!", "-:").replace(":boot", "/boot") for line in off] == removed
    assert removed[0] == "-:vmemscope/boot_free"


def booted_tracing(root: Path, captures: Path) -> Path:
    tracing = root / "sys/kernel/tracing"
    tracing.mkdir(parents=True)
    text = (captures / "6.1.192-vmemlab-39bit/booted.kprobe_events").read_text()
    (tracing / "kprobe_events").write_text(text)
    (tracing / "set_event").write_text("")
    return tracing


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--collect"], "--collect needs -o FILE"),
        (["-o", "x"], "go with --collect"),
        (["--remove"], "go with --collect"),
        (["--collect", "-o", "x", "--undo"], "--collect reads this machine"),
        (["--system-map", "x", "--live"], "name that, too"),
        (["--beside", "4096"], "0<=x<=2047"),
        (["nowhere"], "No such file"),
        (["--expect", "much", "nowhere"], "no size"),
    ],
)
def test_what_makes_no_sense_is_one_line(arguments, said):
    assert said in error_of(boot, *arguments)


def test_an_image_without_names_says_what_to_give(tmp_path):
    image, names = raw_image(tmp_path)
    assert "--system-map" in error_of(boot, image)
    done = run(boot, image, "--system-map", names)
    assert done.exit_code in (0, 3)
    assert "kprobe_event=" in done.stdout


def test_another_machine_names_a_kernel(monkeypatch):
    own = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*own[:4], "x86_64")))
    assert "name an arm64 KERNEL" in error_of(boot)


@pytest.fixture
def machine(tmp_path: Path, captures: Path, monkeypatch) -> Path:
    """A lab 6.1 that was booted with our parameters, in place of this machine."""
    root = booted_machine(tmp_path / "root", captures, monkeypatch)
    whole = module.Collected
    monkeypatch.setattr(module, "Collected", lambda **given: whole(root, **given))
    return root


def test_collecting_says_what_record_says(machine, tmp_path):
    path = tmp_path / "boot.arrows"
    done = run(boot, "--collect", "-o", path)
    assert (done.exit_code, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines[0] == (
        "probes of this boot: vmemmap_populate: derived, sparse_add_section: callsite,"
        " request_free_mem_region: absent, devm_request_free_mem_region: absent,"
        " all others: kprobe"
    )
    assert any(line.startswith("OUT OF RANGE: 256 of 256 calls") for line in lines)
    with open_recording(path) as recording:
        assert f"{path}: {recording.rows:,} events" in lines
    assert len(read_definitions((machine / "sys/kernel/tracing/kprobe_events").read_text())) == 16


def test_a_ring_that_lost_events_says_so(machine, tmp_path):
    trace = machine / "sys/kernel/tracing/trace"
    trace.write_text("# tracer: nop\n#\n")
    done = run(boot, "--collect", "-o", tmp_path / "boot.arrows")
    assert done.exit_code == 3
    assert "lost: 1,288 events" in done.stderr.splitlines()
