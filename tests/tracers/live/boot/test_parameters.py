# SPDX-License-Identifier: GPL-2.0-only
"""Parameters as text: what fits, what is left out, what shells and the kernel make of it."""

import re
import shlex
import subprocess
from dataclasses import replace

import pytest

from tests.tracers.live.boot.planned import planned
from tracers.events import Kind, Phase
from tracers.live.boot import parameters
from tracers.live.boot.definitions import read_definitions

KERNELS = ("lab-6.1.192-39bit-4k", "lab-6.12.117-48bit-4k", "debian-7.2.13-4k")
GIB = 1 << 30


@pytest.fixture(scope="module", params=KERNELS)
def plan(request):
    return planned(request.param)


def definitions(text: str) -> list[str]:
    """Return what setup_boot_kprobe_events() makes of ``kprobe_event=``."""
    (value,) = [word for word in text.split() if word.startswith("kprobe_event=")]
    return value.partition("=")[2].replace(",", " ").split(";")


def test_the_booted_kernels_command_line(captures):
    # and its kprobe_events are those (test_definitions): the kernel took every one
    made = planned()
    reports = replace(made, reports=True)  # the reduced image has no __traceiter
    text = parameters.command_line(reports, parameters.sizes(reports, 256 * GIB), 256).text
    cmdline = (captures / "6.1.192-vmemlab-39bit/booted.cmdline").read_text()
    assert cmdline.rstrip("\n").endswith(" " + text)


def test_the_kernel_reads_the_events_that_were_written(plan):
    written = parameters.command_line(plan, parameters.sizes(plan, GIB), 256)
    made = [each.event for each in read_definitions("\n".join(definitions(written.text)))]
    assert made == list(written.events) == list(plan.events)
    assert written.left_out == ()
    assert len(written.text) == written.bytes


def test_it_fits_beside_whatever_is_there(plan):
    before = len(plan.events)
    for beside in range(0, 2048, 37):
        written = parameters.command_line(plan, parameters.sizes(plan, GIB), beside)
        # COMMAND_LINE_SIZE with the NUL; the buffer for kprobe_event= is as large
        assert written.bytes == len(written.text) <= 2047 - beside
        assert len(written.events) <= before
        before = len(written.events)
        ends = {event.kind for event in written.events if event.phase is Phase.EXIT}
        assert ends <= {event.kind for event in written.events if event.phase is Phase.ENTRY}
        if not written.events:
            assert written.text == ""
            break
    assert before == 0


def test_what_is_missed_least_goes_first(plan):
    whole = parameters.command_line(plan, parameters.sizes(plan, GIB), 0)
    tight = 2047 - whole.bytes + 1
    assert parameters.command_line(plan, whole.sizes, tight).left_out == ("log_buf_len",)
    half = parameters.command_line(plan, whole.sizes, 2047 - whole.bytes // 2)
    kinds = {(event.kind, event.phase) for event in half.events}
    assert {(Kind.FREE, Phase.ENTRY), (Kind.ADD_PAGES, Phase.EXIT)} <= kinds


def test_the_buffer_grows_with_what_is_expected(plan):
    found = [parameters.sizes(plan, expected * GIB) for expected in (1, 256, 4096, 65536)]
    assert [each.ring for each in found] == sorted(each.ring for each in found)
    for expected, each in zip((1, 256, 4096, 65536), found, strict=True):
        assert each.ring & (each.ring - 1) == 0
        assert each.sections * plan.section_bytes >= expected * GIB
    assert parameters.sizes(plan, GIB, 64 << 10).ring == 64 << 10


def test_the_buffer_holds_what_a_booted_kernel_put_into_it(captures):
    # booted.stats: 53760 bytes for 128 sections added and removed, with a WARN each time
    stats = (captures / "6.1.192-vmemlab-39bit/booted.stats").read_text()
    taken = sum(map(int, re.findall(r"^bytes: (\d+)$", stats, re.MULTILINE)))
    reports = replace(planned(), reports=True)
    held = parameters.sizes(reports, GIB, 1 << 20).sections
    assert taken * held / 128 < 1 << 20  # it may hold more, never less
    assert taken * held / 128 > 0.7 * (1 << 20)


def test_a_shell_and_grubs_own_give_the_same_words(plan, tmp_path):
    wanted = parameters.sizes(plan, GIB)
    plain = parameters.command_line(plan, wanted, 256)
    path = tmp_path / "vmemscope.cfg"
    path.write_text(parameters.grub(plan, wanted, 256).text + "\n")
    script = 'GRUB_CMDLINE_LINUX=quiet; . "$1"; printf %s "$GRUB_CMDLINE_LINUX"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", path], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert shlex.split(done.stdout) == ["quiet", *plain.text.split()]
    bare = re.sub(r"'[^']*'", "", done.stdout)
    assert not set('$;&|<>(){}`"\\') & set(bare)


def test_a_boot_configuration_defines_the_same(plan):
    written = parameters.boot_configuration(plan, parameters.sizes(plan, 256 * GIB))
    assert written.text.count("{") == written.text.count("}")
    pairs = re.findall(r"kprobes\.(\w+) \{\s+probes = \"([^\"]+)\"\s+enable\s+\}", written.text)
    assert len(pairs) == len(plan.events)
    for (name, definition), event in zip(pairs, plan.events, strict=True):
        assert (name, definition) == event.bootconfig()
        assert len(f"p:kprobes/{name} {definition}") < 256  # MAX_BUF_LEN
        assert len(name) < 64  # MAX_EVENT_NAME_LEN
    assert f"\tbuffer_size = {written.sizes.ring >> 10}KB\n" in written.text
    # kernel/trace/trace_boot.c splits arrays at commas
    assert "," not in written.text


def test_words_of_others_and_what_a_boot_before_had():
    _, theirs = parameters.others(["ro", "quiet", "trace_clock=global", "kprobe_event=p:a,b"])
    assert theirs == ["ro", "quiet", "trace_clock=global", "kprobe_event=p:a,b"]
    ours = "ro trace_clock=mono kprobe_event=p:vmemscope/boot_free,vmemmap_free log_buf_len=1M"
    assert parameters.others(ours.split())[1] == ["ro"]
