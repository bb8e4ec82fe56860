# SPDX-License-Identifier: GPL-2.0-only
"""Requests in words: the machine's own numbers explain a refusal, or nothing does."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from recordings.format.header import Header
from recordings.ledger.ledger import Ledger
from recordings.reports import requests
from recordings.reports.lkml import lkml
from recordings.reports.markdown import markdown
from recordings.reports.recording_document import document_of
from recordings.reports.recording_json import report_dict
from recordings.reports.recording_text import render
from tests.recordings import plain
from tests.recordings.ledger.test_requests import RES, asked, ended
from tracers.machine import Machine, read_machine
from tracers.region_search import Search

OLD, NEW = "6.1.192-vmemlab-39bit", "6.12.117-vmemlab-48bit"
TIB = 1 << 40


def told(rows, machine):
    ledger = Ledger.of(Header(machine=machine))
    ledger.fold(plain.batch(rows))
    return ledger.snapshot(final=True)


def sentence(rows, machine):
    (one,) = requests.sentences(told(rows, machine), machine)
    return one


@pytest.fixture
def new(captures):
    return read_machine(captures / NEW)


def test_a_refusal_names_the_machine_s_limits(captures, new):
    pages = 127 * TIB >> 12
    text = sentence([asked(1, pages), ended(2, -34)], new)
    memstart = plain.read_note(captures / NEW / "kcore-vmcoreinfo").memstart
    last = (memstart + (1 << 47) - 1) % 2**64  # __pa(PAGE_END - 1)
    assert text.startswith('127 TiB for "devpriv" by insmod-7: refused with -ERANGE')
    assert f"the linear map ends at 0x{last:x}, the largest gap has " in text
    # behind the last entry of the capture's iomem: PCI memory up to 0xffffffffff
    assert "TiB from 0x10000000000" in text


def test_before_the_cap_physical_addresses_end(captures):
    text = sentence([asked(1, 200 * TIB >> 12), ended(2, -34)], read_machine(captures / OLD))
    assert "physical addresses end at 0xffffffffffff" in text
    assert "the largest that fits is 128 TiB (0x7ffff8000000)" in text


def test_one_that_would_have_fit_says_so(new):
    text = sentence([asked(1, 1 << 20), ended(2, -34)], new)
    assert text.endswith("it would have fit beside what the recording's /proc/iomem has")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"iomem": ()}, "no window, /proc/iomem or size"),
        ({"window": None}, "no window, /proc/iomem or size"),
        ({"search": Search()}, "no release"),
        ({"search": Search(capped=True)}, "whether this kernel steps"),
    ],
)
def test_what_is_not_known_is_said(new, change, why):
    machine = replace(new, **change)
    text = sentence([asked(1, 127 * TIB >> 12), ended(2, -34)], machine)
    assert f"why is not known: {why}" in text or why in text


def test_another_error_is_not_explained(new):
    assert sentence([asked(1), ended(2, -12)], new).endswith("refused with -ENOMEM")
    assert sentence([asked(1), ended(2, -2000)], new).endswith("refused with -2000")


def test_a_region_says_where_its_struct_pages_lie(captures):
    machine = read_machine(captures / OLD)
    # where the lab's 6.1 put 1 GiB before it panicked (wrap.console.txt)
    rows = [asked(1, 1 << 18), ended(2, RES, 0xFFFFC0000, 1 << 18)]
    assert sentence(rows, machine).endswith(
        "at 0xffffc0000000 - 0x1000000000000, its struct pages wrapped"
    )
    inside = [asked(1, 1 << 18), ended(2, RES, 0x2000000, 1 << 18)]
    assert sentence(inside, machine).endswith("its struct pages inside the window")


def test_notable_ones_come_before_others(captures):
    machine = read_machine(captures / OLD)
    rows = [asked(0), ended(1, -34)]
    for number in range(10):
        rows += [asked(10 + 2 * number), ended(11 + 2 * number, RES, 0x2000000, 256)]
    shown = requests.shown(told(rows, machine), machine)
    assert len(shown) == requests.SHOWN
    assert shown[0].error == 34
    assert [each.row for each in shown] == sorted(each.row for each in shown)


def test_counts():
    machine = Machine()
    assert requests.counted(told([asked(1), ended(2, RES)], machine)) == "1, none refused"
    rows = [asked(1), ended(2, -34), asked(3), ended(4, -34), asked(5), ended(6, -16)]
    text = "3 of 3 refused: 2 with -ERANGE, 1 with -EBUSY"
    assert requests.counted(told(rows, machine)) == text


def test_json(new):
    rows = [asked(1), ended(2, RES, 0x2000000, 32768), asked(3), ended(4, -34)]
    found = report_dict(Header(machine=new), told(rows, new))["requests"]
    assert (found["total"], found["refused"], found["errors"]) == (2, 1, {"-ERANGE": 1})
    assert [each["kind"] for each in found["listed"]] == ["request_free_mem_region"] * 2
    assert [each["error"] for each in found["listed"]] == [None, "-ERANGE"]


def test_names_of_kernels_are_escaped(new):
    header = Header(machine=new)
    snapshot = told([asked(1, name="\x1b[31m`|"), ended(2, -34)], new)
    out = io.StringIO()
    render(Console(file=out, width=80), header, snapshot)
    blocks = list(document_of(header, snapshot))
    for text in (out.getvalue(), markdown(blocks), lkml(blocks)):
        assert "refused" in text
        assert "\x1b" not in text
