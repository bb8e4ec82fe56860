# SPDX-License-Identifier: GPL-2.0-only
"""Names as numbers: the same for any cut, bounded, and null apart."""

import pyarrow as pa

from recordings.explore.texts import NO_TEXT, OTHER, Texts


def test_numbers_by_first_appearance():
    names = ["insmod", None, "rmmod", "insmod", "\x1b]0;x\x07", None]
    whole, cut = Texts(), Texts()
    codes = whole.codes(pa.array(names)).tolist()
    assert codes == [0, NO_TEXT, 1, 0, 2, NO_TEXT]
    assert [int(cut.codes(pa.array([name], pa.utf8()))[0]) for name in names] == codes
    assert whole.texts == cut.texts == ("insmod", "rmmod", "\x1b]0;x\x07")


def test_no_more_than_its_budget():
    texts = Texts(most=2)
    assert texts.codes(pa.array(["a", "b", "c", "d", "a"])).tolist() == [0, 1, 2, 2, 0]
    assert texts.codes(pa.array(["e", "b"])).tolist() == [2, 1]
    assert texts.texts == ("a", "b", OTHER)
