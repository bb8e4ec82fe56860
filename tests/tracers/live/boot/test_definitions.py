# SPDX-License-Identifier: GPL-2.0-only
"""Definitions written and read back; expected: what a booted kernel's kprobe_events has of them."""

import pytest

from tests.tracers.live.boot.planned import planned
from tracers.events import Kind, Phase
from tracers.live.boot.definitions import read_definitions
from tracers.live.tracefs import cleanup


@pytest.fixture
def booted(captures) -> str:
    """The file of a kernel that was booted with the parameters for it."""
    return (captures / "6.1.192-vmemlab-39bit/booted.kprobe_events").read_text()


def test_the_kernel_has_what_was_planned_for_its_image(booted):
    defined = read_definitions(booted)
    assert len(defined) == len(booted.splitlines()) == 16
    assert {each.group for each in defined} == {"vmemscope"}
    assert {each.event for each in defined} == set(planned().events)


def test_a_line_is_read_as_what_it_was_written_from(booted):
    events = [each.event for each in read_definitions(booted)]
    text = "\n".join(event.line() for event in events)
    assert [each.event for each in read_definitions(text)] == events


def test_in_a_boot_configuration_the_group_is_the_kernels():
    events = planned().events
    # what trace_boot_add_kprobe_event makes of a name and a definition
    lines = [f"p:kprobes/{name} {rest}" for name, rest in (each.bootconfig() for each in events)]
    # and trace_kprobe_show of "%return", whose default is 10 instances
    shown = [
        line.replace("p:", "r10:", 1).replace("%return", "") if "%return" in line else line
        for line in lines
    ]
    defined = read_definitions("\n".join(shown))
    assert [each.event for each in defined] == list(events)
    assert {each.group for each in defined} == {"kprobes"}
    assert all(each.name.startswith("vmemscope_boot_") for each in defined)


@pytest.mark.parametrize(
    "line",
    [
        "p:kprobes/boot_free vmemmap_free start=%x0 end=%x1",  # somebody else's
        "p:vmemscope/boot_nonsense vmemmap_free",
        "p:vmemscope/boot_free_0 vmemmap_free",  # never written like this
        "p:vmemscope_12_34_56_0/boot_free vmemmap_free",  # of a run that tries
        "p:vmemscope/boot_free 0xffffffc0086b2300",
        "",
    ],
)
def test_what_is_not_ours_is_left_alone(line):
    assert read_definitions(line) == ()


def test_several_places_are_told_apart():
    text = (
        "p:vmemscope/boot_section_add_1 memremap_pages+872 pfn=%x1\n"
        "p:vmemscope/boot_section_add_1_ret memremap_pages+876 ret=%x0\n"
    )
    first, second = (each.event for each in read_definitions(text))
    assert (first.kind, first.phase, first.turn, first.offset) == (
        Kind.SECTION_ADD,
        Phase.ENTRY,
        1,
        872,
    )
    assert (second.phase, second.turn, second.place) == (Phase.EXIT, 1, "memremap_pages+0x36c")


def test_cleanup_takes_no_probes_of_a_boot(tmp_path, booted):
    tracing = tmp_path / "sys/kernel/tracing"
    (tracing / "instances").mkdir(parents=True)
    (tracing / "kprobe_events").write_text(booted)
    assert cleanup.find_stale(tmp_path) == ()
    assert cleanup.clear(tracing, "vmemscope") is None
    assert (tracing / "kprobe_events").read_text() == booted
