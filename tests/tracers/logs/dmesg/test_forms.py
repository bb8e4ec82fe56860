# SPDX-License-Identifier: GPL-2.0-only
"""Every form of a kernel log: the same splats and the same Oops, whatever stands around them."""

import re

import pytest

from tests.tracers.logs.dmesg.forms import FOLDER, FORMS, PAGE, log, path_of, read, table
from tests.tracers.logs.dmesg.test_reader import ROWS, without_nulls

#: The Oops as the kernel printed it: x0 is the struct page, x1 its pfn.
PAGE_AT, PFN = 0x000003FDFE000000, 0x0000000FFFFC0000
CHAIN = "__init_single_page+0x4 <- memmap_init_zone_device <- memremap_pages <- devpriv_init"
FAULT = {
    "kind": "fault", "phase": "point", "cpu": 0, "tid": 50, "comm": "insmod", "source": "dmesg",
    "start": PAGE_AT, "end": PAGE_AT + 64, "pfn": PFN, "nr_pages": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_form_changes_nothing(name: str):
    found = read(path_of(name))
    assert (found.log.lost_unknown, found.log.torn, found.log.rejected) == (0, 0, 0)
    assert found.log.release == "6.1.192-vmemlab"
    *splats, fault = without_nulls(found.rows)
    assert splats == ROWS
    site = fault.pop("site")
    assert fault == FAULT
    if "decode" not in name and "wrapped" not in name:
        assert site.replace(" [inline]", "").startswith(CHAIN)
    chains = [note for note in found.log.notes if note.startswith("1 splat: vmemmap_")]
    assert len(chains) == 2
    if "wrapped" not in name:
        assert any("__add_pages <- memremap_pages <- devpriv_init [devpriv]" in c for c in chains)


@pytest.mark.parametrize("name", FORMS)
def test_the_files_are_the_forms(name: str):
    assert path_of(name).read_bytes() == FORMS[name].make(log())


def test_there_is_a_file_for_each_form():
    assert {path_of(name) for name in FORMS} == set(FOLDER.iterdir())
    assert len({path_of(name).name.lower() for name in FORMS}) == len(FORMS)


def test_the_table_is_written_from_the_files():
    assert PAGE.read_text() == table()


def test_every_form_has_a_grammar():
    assert all(form.source for form in FORMS.values())
    learned = [name for name, form in FORMS.items() if form.source.startswith("learned")]
    assert all(re.match("nobody's", name) for name in learned)
