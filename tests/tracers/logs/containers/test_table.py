# SPDX-License-Identifier: GPL-2.0-only
"""Containers of logs: recognised, read in pieces of any size, torn where something is missing."""

import io

import pytest

from tests.tracers.logs.dmesg.forms import FORMS, log, path_of
from tests.tracers.logs.dmesg.fuzz_dmesg import CAPTURES, contained
from tests.tracers.logs.dmesg.splat_texts import prefixed
from tracers.logs.containers.table import CONTAINERS, may_be_one, recognise

CONTAINED = {
    "dmesg --json": "dmesg --json",
    "journalctl -o json": "JSON, a record a line",
    "journalctl -o export": "journalctl -o export",
    "Loki, HTTP API": "Loki's answer",
    "Docker json-file": "JSON, a record a line",
    "mail, quoted-printable": "mail",
    "mail, attached (base64)": "mail",
    "HTML": "HTML",
    "UTF-16, little endian": "UTF-16, UTF-32, or UTF-8 with a mark",
    "UTF-16, big endian": "UTF-16, UTF-32, or UTF-8 with a mark",
}
PLAIN = prefixed(log(), "dmesg")


@pytest.mark.parametrize("name", FORMS)
def test_what_is_in_a_container_is_recognised_and_nothing_else(name: str):
    raw = path_of(name).read_bytes()
    found = recognise(raw[: 64 << 10])
    assert (found.name if found else None) == CONTAINED.get(name)
    assert found is None or may_be_one(raw[:4096])


def test_every_container_has_a_form():
    assert set(CONTAINED.values()) == {each.name for each in CONTAINERS}


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("name", [name for name in CONTAINED if "Loki" not in name])
def test_the_text_comes_out_as_it_was(name: str, size: int):
    text = contained(path_of(name).read_bytes(), size)
    assert PLAIN in text.replace(b"\r", b"")


@pytest.mark.parametrize("name", CONTAINED)
def test_cut_short_it_is_torn_and_gives_what_was_there(name: str):
    raw = path_of(name).read_bytes()
    begun = raw[: len(raw) // 2]
    container = recognise(raw)
    assert container is not None
    stream = container.open(io.BytesIO(begun))
    text = b"".join(iter(lambda: stream.read1(1 << 16), b""))
    # A mail and a page may end anywhere; an answer of Loki is one record.
    assert stream.torn == (name in {"dmesg --json", "journalctl -o json", "Loki, HTTP API",
                                    "journalctl -o export", "Docker json-file",
                                    "mail, attached (base64)"})  # fmt: skip
    whole = contained(raw)
    assert whole.startswith(text[:-200])
    assert len(text) > len(whole) // 4 or "Loki" in name


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[    1.000000] x\n",
        b"# tracer: nop\n",
        b'{"type": "attached_probes", "data": {"probes": 9}}\n',  # bpftrace's
        (CAPTURES / "bpftrace.jsonl").read_bytes(),
        (CAPTURES / "trace-cmd-hole.dat").read_bytes()[: 64 << 10],
        b"Nov 25 03:18:40 host kernel: WARNING: x\n",
    ],
)
def test_what_is_no_container(raw: bytes):
    assert recognise(raw) is None
