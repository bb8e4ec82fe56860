# SPDX-License-Identifier: GPL-2.0-only
"""The command run as a process: its two streams and its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracers.logs.formats import FORMATS
from tui.commands.log_options import LOG_FORMATS

COMMAND = (sys.executable, "-m", "vmemscope")
KEYS = {
    "kernel", "window", "calls", "hits", "regimes", "warnings", "section_add", "operations",
    "pairing", "losses", "verdict",
}  # fmt: skip


def vmemscope(*args: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def modules_of(*args: str) -> set[str]:
    """Modules a command has loaded by the time it ends."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
        f"sys.argv = {['vmemscope', *args]!r}\n"
        "from tui.program import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return set(done.stderr.split())


def loaded_by(*args: str) -> set[str]:
    """Top-level modules a command has loaded by the time it ends."""
    return {name.partition(".")[0] for name in modules_of(*args)}


def test_help_loads_neither_arrow_nor_textual() -> None:
    assert not {"textual", "pyarrow", "numpy", "pandas", "rich"} & loaded_by("--help")
    assert "Exit codes: 0 clean, 1 out-of-range" in vmemscope("--help").stdout


def test_report_loads_neither_textual_nor_pandas() -> None:
    loaded = loaded_by("report", "sample:storm")
    assert "pyarrow" in loaded
    assert not {"textual", "pandas"} & loaded


#: What a report needs only where something is asked of it that none of these commands asks: a
#: what-if, an interval of confidence, a window that is not in the recording.
_ASKED_FOR = {
    "numpy.random",
    "recordings.analysis.relocation",
    "recordings.analysis.what_if",
    "recordings.reports.what_if_report",
    "tracers.cover",
    "tracers.evidence",
    "tracers.machine_window",
    "tracers.page_tables",
}


@pytest.mark.parametrize(
    "args",
    [
        ("report", "sample:storm"),
        ("report", "sample:storm", "--json"),
        ("check", "sample:storm"),
        ("check", "sample:storm", "--max-p99", "2ms"),
    ],
)
def test_a_report_loads_what_is_asked_of_it_and_no_more(args: tuple[str, ...]) -> None:
    loaded = modules_of(*args)
    assert "recordings.ledger.snapshot" in loaded
    assert not _ASKED_FOR & loaded
    assert ("rich.console" in loaded) == (args == ("report", "sample:storm"))
    what_if = modules_of("report", "sample:storm", "--warn", "once")
    assert "recordings.reports.what_if_report" in what_if


# The figures are the kernels' own: kernel-facts and the captures' ftrace text.
@pytest.mark.parametrize(
    ("sample", "code", "hits", "regime", "warnings"),
    [
        ("storm", 1, 256, "above", 256),
        ("storm-once", 1, 256, "above", 2),
        ("in-range-6.1", 0, 0, "inside", 0),
        ("in-range-6.12", 0, 0, "inside", 0),
        ("below-6.1", 1, 2, "below", 2),
        ("below-6.12", 0, 0, "inside", 0),
    ],
)
def test_each_sample_says_what_its_kernel_did(sample, code, hits, regime, warnings) -> None:
    done = vmemscope("report", f"sample:{sample}", "--json")
    assert (done.returncode, done.stderr) == (code, "")
    fields = json.loads(done.stdout)
    assert set(fields) >= KEYS
    assert fields["hits"] == hits
    assert fields["warnings"]["total"] == warnings
    calls = fields["calls"]["populate"] + fields["calls"]["free"]
    assert fields["regimes"] == {
        name: calls if name == regime else 0
        for name in ("inside", "below", "above", "wrapped", "straddling", "unknown")
    }


def test_text_report_is_plain_when_piped() -> None:
    done = vmemscope("report", "sample:storm")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "256" in done.stdout.splitlines()[0]


def test_a_closed_pipe_does_not_change_the_verdict() -> None:
    code = f"{sys.executable} -m vmemscope report sample:storm; echo $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"({code}) | head -n 1"], capture_output=True, text=True, check=False
    )
    assert done.stderr == "1\n"
    assert len(done.stdout.splitlines()) == 1


def test_a_closed_pipe_for_both_streams_does_not_either(tmp_path: Path, samples: Path) -> None:
    path = tmp_path / "torn.arrows"
    path.write_bytes((samples / "in-range-6.12.arrows").read_bytes()[:-100])
    code = f"import subprocess, sys; sys.exit(subprocess.call({[*COMMAND, 'report', str(path)]!r}))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        process.stdout.close()  # before anything is written
        assert process.wait() == 3


def test_a_full_disk_and_a_closed_stdout_are_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "report", "sample:storm"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, "vmemscope: stdout: No space left on device\n")
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(COMMAND)} report sample:storm >&-"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("vmemscope: stdout is closed")


def test_a_narrow_character_set_costs_no_report(traced: Path) -> None:
    done = vmemscope(
        "report", traced / "storm.arrows", env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 1
    assert r"128 derived\u2020" in done.stdout


@pytest.mark.parametrize("command", ["report", "replay"])
def test_usage_errors_are_one_line_and_exit_with_two(command: str) -> None:
    done = vmemscope(command, "--no-such-option")
    assert done.returncode == 2
    message = one_line(done)
    assert message.startswith("vmemscope: ")
    assert message.endswith("--help)")


def test_replay_without_a_terminal_names_the_way_out() -> None:
    done = vmemscope("replay")
    assert done.returncode == 2
    assert "vmemscope report" in done.stderr


def test_an_unknown_sample_lists_those_there_are() -> None:
    done = vmemscope("report", "sample:nope")
    assert done.returncode == 2
    assert "storm-once" in done.stderr


@pytest.mark.parametrize("content", [b"", b"PAR1" + b"\0" * 40 + b"PAR1", b"hello\n" * 9])
def test_what_is_no_recording_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.arrows"
    path.write_bytes(content)
    done = vmemscope("report", path)
    assert done.returncode == 2
    assert one_line(done).startswith("vmemscope: ")


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        done = vmemscope("report", path)
        assert done.returncode == 2
        assert str(path) in one_line(done)


def test_a_truncated_recording_is_never_clean(tmp_path: Path, samples: Path) -> None:
    whole = (samples / "in-range-6.12.arrows").read_bytes()
    path = tmp_path / "torn.arrows"
    path.write_bytes(whole[:-100])
    done = vmemscope("report", path, "--json")
    assert done.returncode == 3
    fields = json.loads(done.stdout)
    assert fields["verdict"] == "inconclusive"
    assert fields["losses"]["torn"] > 0


def test_import_then_report(tmp_path: Path, captures: Path) -> None:
    kernel = captures / "6.1.192-vmemlab-39bit"
    out = tmp_path / "out.arrows"
    done = vmemscope("import", kernel / "hole.ftrace.txt", "-o", out, "--machine", kernel)
    assert (done.returncode, done.stdout) == (0, "")
    assert "128 of them derived" in done.stderr
    assert out.stat().st_mode & 0o777 == 0o600
    again = vmemscope("import", kernel / "hole.ftrace.txt", "-o", out, "--machine", kernel)
    assert again.returncode == 2
    assert "exists" in one_line(again)
    assert vmemscope("report", out).returncode == 1


def test_import_without_a_machine_is_inconclusive(tmp_path: Path, captures: Path) -> None:
    out = tmp_path / "out.arrows"
    trace = captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt"
    assert vmemscope("import", trace, "-o", out).returncode == 0
    done = vmemscope("report", out, "--json")
    assert done.returncode == 3
    fields = json.loads(done.stdout)
    assert fields["window"] is None
    assert fields["calls"]["free"] == fields["regimes"]["unknown"] == 128


def test_import_takes_the_window_from_numbers(tmp_path: Path, captures: Path) -> None:
    kernel = captures / "6.1.192-vmemlab-39bit"
    numbers = ("--va-bits", "39", "--page-size", "4K", "--release", "6.1", "--ram", "1G")
    for name, options in (("noted", ("--machine", kernel)), ("told", numbers)):
        out = tmp_path / name
        done = vmemscope("import", kernel / "hole.ftrace.txt", "-o", out, *options)
        assert done.returncode == 0, done.stderr
        assert "128 of them derived" in done.stderr
    noted, told = (
        json.loads(vmemscope("report", tmp_path / name, "--json").stdout)
        for name in ("noted", "told")
    )
    for field in ("verdict", "calls", "regimes", "would_warn"):
        assert told[field] == noted[field]
    given = told["window"]["provenance"]
    assert (given["page_size"], given["window"]) == ("given", "release+formula")
    assert given["struct_page"].startswith("assumed")
    text = " ".join(vmemscope("report", tmp_path / "told").stdout.split())
    assert "39-bit VA (given), 4 KiB pages (given), struct page of 64 B (assumed: 64 on" in text


def test_import_compares_numbers_with_the_machine(tmp_path: Path, captures: Path) -> None:
    kernel = captures / "6.1.192-vmemlab-39bit"
    out = tmp_path / "out.arrows"
    log = kernel / "below.ftrace.txt"
    done = vmemscope("import", log, "-o", out, "--machine", kernel, "--va-bits", "48")
    assert done.returncode == 0
    assert "problem: va_bits: vmcoreinfo says 39, config says 39, given says 48" in done.stderr
    assert vmemscope("check", out).returncode == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--memstart", "0", "--ram", "1G"), "say the same thing twice"),
        (("--va-bits", "48", "--vabits-actual", "52"), "a 48-bit kernel has no 52 bits in use"),
        (("--page-size", "8K"), "--page-size 8192: no arm64 kernel has that"),
        (("--va-bits", "many"), "'many' is no number"),
    ],
)
def test_numbers_that_no_kernel_has_are_usage_errors(
    tmp_path: Path, captures: Path, options: tuple[str, ...], said: str
) -> None:
    log = captures / "6.1.192-vmemlab-39bit" / "below.ftrace.txt"
    done = vmemscope("import", log, "-o", tmp_path / "out.arrows", *options)
    assert done.returncode == 2
    assert said in one_line(done)
    assert not (tmp_path / "out.arrows").exists()


def test_import_takes_the_window_from_the_kernel_image(tmp_path: Path, captures: Path) -> None:
    trace = captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt"
    image = captures.parent / "kernels" / "lab-6.1.192-39bit-4k.elf"
    out = tmp_path / "out.arrows"
    done = vmemscope("import", trace, "-o", out, "--vmlinux", image)
    assert done.returncode == 0, done.stderr
    fields = json.loads(vmemscope("report", out, "--json").stdout)
    # VMCOREINFO of that kernel, which was not given
    assert fields["window"]["start"] == "0xfffffffe00000000"
    assert fields["window"]["end"] == "0xffffffff00000000"
    assert "code:vmemmap_free" in fields["window"]["provenance"]["window"]
    assert fields["regimes"]["above"] == 128  # the frees; populate needs memstart_addr too


def test_an_image_of_another_kernel_leaves_no_verdict(tmp_path: Path, captures: Path) -> None:
    trace = captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt"
    image = captures.parent / "kernels" / "lab-6.1.192-39bit-4k.elf"
    out = tmp_path / "out.arrows"
    other = captures / "6.12.117-vmemlab-48bit"
    assert (
        vmemscope("import", trace, "-o", out, "--vmlinux", image, "--machine", other).stdout == ""
    )
    done = vmemscope("report", out, "--json")
    assert done.returncode == 3
    fields = json.loads(done.stdout)
    assert fields["verdict"] == "inconclusive"
    assert any("0xfffffdffc0000000" in line and "0xfffffffe00000000" in line
               for line in fields["problems"])  # fmt: skip


def test_import_of_what_is_no_trace_writes_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "letter.txt"
    trace.write_text("Dear maintainers,\nit WARNs a lot.\n")
    out = tmp_path / "out.arrows"
    done = vmemscope("import", trace, "-o", out)
    assert done.returncode == 2
    assert "no log of a kind we know" in one_line(done)
    assert not out.exists()


def test_import_of_a_console_up_to_the_oops(tmp_path: Path, captures: Path) -> None:
    kernel = captures / "6.1.192-vmemlab-39bit"
    image = captures.parent / "kernels" / "lab-6.1.192-39bit-4k.elf"
    (log,) = kernel.glob("wrap.console.txt*")
    out = tmp_path / "out.arrows"
    done = vmemscope("import", log, "-o", out, "--machine", kernel, "--vmlinux", image)
    assert (done.returncode, done.stdout) == (0, "")
    assert "after 8 splats the kernel failed: Oops" in done.stderr
    done = vmemscope("report", out, "--format", "lkml")
    assert done.returncode == 1
    message = " ".join(done.stdout.split())
    assert "OUT OF RANGE: 8 of 8 calls outside the window" in message
    assert "8 wrapped" in message
    assert "0x000003fdfe000000" in message
    assert "vmemmap_populate <- __populate_section_memmap <- sparse_add_section" in message
    assert "__init_single_page" in message


def test_a_log_without_a_warn_is_inconclusive(tmp_path: Path) -> None:
    log, out = tmp_path / "dmesg.txt", tmp_path / "out.arrows"
    log.write_text("[    0.000000] Booting Linux on physical CPU 0x0\n")
    done = vmemscope("import", log, "-o", out)
    assert done.returncode == 0
    assert "no WARN splat in 1 line" in done.stderr
    assert vmemscope("report", out).returncode == 3


def test_import_from_standard_input_and_packed(tmp_path: Path, captures: Path) -> None:
    kernel = captures / "6.1.192-vmemlab-39bit"
    out = tmp_path / "out.arrows"
    with (kernel / "perf-lost.script.txt.xz").open("rb") as log:
        done = subprocess.run(
            [*COMMAND, "import", "-", "-o", str(out), "--machine", str(kernel)],
            stdin=log, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[0] == f"{out}: 899 events, 128 of them derived"
    assert done.stderr.splitlines()[-1] == "missing: 5 events lost"
    assert vmemscope("report", out).returncode == 1


def test_import_of_a_trace_cmd_file_needs_no_program(tmp_path: Path, captures: Path) -> None:
    trace = captures / "6.1.192-vmemlab-39bit" / "trace-cmd-hole.dat"
    env = os.environ | {"PATH": str(tmp_path)}
    done = vmemscope("import", trace, "-o", tmp_path / "out.arrows", env=env)
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == f"{tmp_path / 'out.arrows'}: 56 events, 0 of them derived"


def test_import_lists_the_formats_there_are(tmp_path: Path) -> None:
    assert tuple(each.name for each in FORMATS) == LOG_FORMATS
    assert f"[{'|'.join(LOG_FORMATS)}]" in "".join(vmemscope("import", "--help").stdout.split())
    log, out = tmp_path / "log", tmp_path / "out.arrows"
    log.write_text("hello\n")
    done = vmemscope("import", log, "-o", out, "--format", "dtrace")
    assert done.returncode == 2
    assert all(name in done.stderr for name in LOG_FORMATS)
    assert "expected thread, time" in one_line(
        vmemscope("import", log, "-o", out, "--format", "perf")
    )


def test_import_prints_the_script_for_bpftrace(captures: Path) -> None:
    done = vmemscope("import", "--bpftrace-script")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("#!/usr/bin/env bpftrace\n")
    assert "kprobe:vmemmap_free" in done.stdout
