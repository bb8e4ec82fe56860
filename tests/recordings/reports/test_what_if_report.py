# SPDX-License-Identifier: GPL-2.0-only
"""Sentences and JSON of what-if results."""

import json

import pytest

from recordings.analysis.what_if import Warn, WhatIf, judge_what_if
from recordings.format.reader import open_recording
from recordings.ledger.whole import fold
from recordings.reports.what_if_report import conditions, headline, sentences, what_if_dict
from tracers.window import window_from_facts

HOSTILE = "\x1b]0;x\x07[bold]"


def what_if_result(samples, name="storm", **asked):
    with open_recording(samples / f"{name}.arrows") as recording:
        return judge_what_if(recording, WhatIf(**asked), fold(recording))


def wide(bits, **facts):
    sizes = {"va_bits": bits, "page_size": 4096, "struct_page": 64, "memstart": 0x4000_0000}
    return window_from_facts(sizes | facts, release="6.12")


def test_several_conditions_are_one_sentence():
    asked = WhatIf(window=wide(48), physmem_end=0xFFFF, warn=Warn.ERROR)
    assert conditions(asked) == (
        "the window were 0xfffffdffc0000000 - 0xffffffffc0000000 and device regions were placed"
        " at most up to 0xffff and populating outside of the window were an error"
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"warn": Warn.ONCE}, "OUT OF RANGE: 256 of 256 calls would still lie outside the window"),
        ({"warn": Warn.ERROR}, "CLEAN: nothing would be mapped outside the window, as it is"),
        ({"physmem_end": 0x40_3FFF_FFFF}, "CLEAN: all 256 calls would lie inside the window"),
        ({"physmem_end": 1 << 33}, "INCONCLUSIVE: 1 region has no place below that end"),
    ],
)
def test_the_verdict_is_never_said_without_the_word(samples, asked, said):
    told = headline(what_if_result(samples, **asked))
    assert told.startswith(f"hypothetical verdict {said}")
    assert not told.endswith(".")  # others' sentences go on behind it


def test_sentences_carry_the_numbers(samples, traced):
    told = " ".join(sentences(what_if_result(traced, warn=Warn.ERROR)))
    assert "1 of 1 hot-add would be refused, at its first section" in told
    assert "255 calls would not happen: 127 populate, 128 free." in told
    told = " ".join(sentences(what_if_result(traced, "storm-once", warn=Warn.ALWAYS)))
    assert "256 WARNs would fire in place of 2 recorded." in told
    assert "would cost about 294.9 ms more: an estimate." in told
    told = " ".join(sentences(what_if_result(samples, "in-range-6.12", warn=Warn.ERROR)))
    assert told == "No call would be refused."
    told = " ".join(sentences(what_if_result(samples, "in-range-6.12", physmem_end=1 << 45)))
    assert told.startswith("No region of the recording reaches above that")


def test_a_52_bit_kernel_says_what_cpu_is_supposed(samples):
    told = " ".join(sentences(what_if_result(samples, window=wide(52))))
    assert "A kernel for 52 bits, judged by what is in use whatever the CPU." in told
    told = " ".join(sentences(what_if_result(samples, window=wide(52, vabits_actual=48))))
    assert "judged with 48 in use." in told


@pytest.mark.parametrize(
    "asked",
    [
        {"warn": Warn.ONCE},
        {"warn": Warn.ERROR},
        {"physmem_end": 0x40_3FFF_FFFF},
        {"window": wide(48), "whose": HOSTILE},
    ],
)
def test_json_says_that_it_is_hypothetical(samples, asked):
    told = what_if_dict(what_if_result(samples, **asked))
    assert told["hypothetical"] is True
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["verdict"] in {"clean", "out-of-range"}
    assert told["supposed"]["window_of"] == asked.get("whose")
    assert HOSTILE not in " ".join(sentences(what_if_result(samples, **asked)))
