# SPDX-License-Identifier: GPL-2.0-only
"""Members as streams: what is passed over, and archives that are damaged or made to do harm."""

import io
import os
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from recordings.triage import zip_members
from recordings.triage.members import DamagedArchiveError, Member, PassedOver, of_folder, of_tar
from recordings.triage.zip_members import of_zip
from tests.recordings.bug_reports import as_folder, as_tar, header

FILES = {"a/b": b"one", "a/c/d": b"two" * 1000, "e": b""}
MIB = 1 << 20


def read(member: Member) -> bytes:
    return b"".join(iter(lambda: member.read(1000), b""))


def of_bytes(data: bytes) -> tuple[dict[str, bytes], PassedOver]:
    stream, passed = io.BytesIO(data), PassedOver()
    found = {}
    for each in of_tar(stream.read, lambda: len(data), passed):
        with suppress(DamagedArchiveError):
            found[each.name] = read(each)
    return found, passed


class Endless:
    """Some bytes, then the same MiB again and again."""

    def __init__(self, data: bytes, more: bytes) -> None:
        self.given = 0
        self._data, self._more = data, more

    def read(self, size: int) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        data = data or self._more[:size]
        self.given += len(data)
        return data


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_of_each_kind(style: int) -> None:
    long = {"long/" * 60 + "name": b"x", **FILES}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style) as tar:
        for name, content in (long if style != tarfile.USTAR_FORMAT else FILES).items():
            tar.addfile(header(f"./{name}", len(content)), io.BytesIO(content))
    found, passed = of_bytes(out.getvalue())
    assert found == (long if style != tarfile.USTAR_FORMAT else FILES)
    assert passed == PassedOver()


def test_what_nobody_reads_is_skipped() -> None:
    stream, passed = io.BytesIO(as_tar(FILES)), PassedOver()
    names = [each.name for each in of_tar(stream.read, lambda: 1, passed)]
    assert names == list(FILES)
    assert passed.problems == []


def test_a_folder_is_read_sorted_and_links_are_not_followed(tmp_path: Path) -> None:
    as_folder(FILES, tmp_path)
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "round").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")  # to open it would wait
    passed = PassedOver()
    found = {each.name: read(each) for each in of_folder(tmp_path, passed)}
    assert list(found) == ["e", "a/b", "a/c/d"]
    assert found == FILES
    assert list(passed.remarks()) == ["passed over: 2 links, 1 device or pipe"]


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        list(of_folder(tmp_path / "nope", PassedOver()))


def test_links_devices_and_names_that_lead_out_are_passed_over() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(header("dmesg", kind=tarfile.SYMTYPE, linkname="/etc/passwd"))
        tar.addfile(header("dmesg", kind=tarfile.LNKTYPE, linkname="/etc/passwd"))
        tar.addfile(header("kmsg", kind=tarfile.CHRTYPE, devmajor=1, devminor=11))
        tar.addfile(header("fifo", kind=tarfile.FIFOTYPE))
        tar.addfile(header("folder", kind=tarfile.DIRTYPE))
        for name in ("/etc/dmesg", "../dmesg", "a/../../dmesg", "x" * 5000):
            tar.addfile(header(name, 3), io.BytesIO(b"bad"))
        tar.addfile(header("good", 4), io.BytesIO(b"good"))
    found, passed = of_bytes(out.getvalue())
    assert found == {"good": b"good"}
    assert (passed.links, passed.special, passed.unsafe) == (2, 2, 4)
    assert passed.problems == []


def test_a_tar_cut_anywhere_says_so() -> None:
    whole = as_tar(FILES)
    end = len(whole.rstrip(b"\0"))
    for cut in range(1, end + 512, 256):
        found, passed = of_bytes(whole[:cut])
        assert len(passed.problems) == 1, cut
        assert all(FILES[name].startswith(content) for name, content in found.items())


def test_a_damaged_header_is_no_silent_end() -> None:
    data = bytearray(as_tar(FILES))
    data[1024 + 10] ^= 1  # in the second header
    found, passed = of_bytes(bytes(data))
    assert found == {"a/b": b"one"}
    assert passed.problems == ["the tar is damaged or cut short: bad checksum"]


def test_any_bytes_are_an_end_or_one_problem() -> None:
    data = as_tar(FILES, "w")
    for at in range(0, len(data), 7):
        for value in (0, 0x80, 0xFF):
            changed = bytearray(data[:6000])
            changed[at % 6000] = value
            # A header's checksum, made anew, so that what is in it counts.
            for begin in (0, 1024):
                block = changed[begin : begin + 512]
                block[148:156] = b" " * 8
                changed[begin + 148 : begin + 156] = b"%06o\0 " % sum(block)
            of_bytes(bytes(changed))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_without_end_costs_no_memory(kind: bytes) -> None:
    stream, passed = Endless(header("x", 7 << 30, kind).tobuf(), b"a" * MIB), PassedOver()
    tracemalloc.start()
    assert list(of_tar(stream.read, lambda: stream.given, passed)) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert passed.problems == ["a header in it takes more than 1024 KiB: what came before is used"]
    assert peak < 16 * MIB


def test_a_map_of_holes_without_end_costs_no_memory() -> None:
    block = bytearray(header("dmesg", 512).tobuf())
    block[156:157], block[482] = b"S", 1  # GNU's sparse file, continued
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more = bytearray(512)
    more[504] = 1  # and continued
    stream, passed = Endless(bytes(block), bytes(more) * 2048), PassedOver()
    assert list(of_tar(stream.read, lambda: stream.given, passed)) == []
    assert "a header in it takes more than" in passed.problems[0]


def test_a_bomb_ends_by_what_was_read_of_it() -> None:
    stream, passed = Endless(header("zeros", 7 << 30).tobuf(), bytes(64 << 10)), PassedOver()
    for member in of_tar(stream.read, lambda: 100, passed):
        with pytest.raises(DamagedArchiveError, match="unpacks to more than 256 times"):
            list(iter(lambda: bool(member.read(MIB)), False))  # noqa: B023 (at once)
    assert stream.given < (1 << 30) + MIB
    assert "unpacks to more than 256 times" in passed.problems[0]


def test_headers_are_not_kept() -> None:
    stream = io.BytesIO(header("x" * 90).tobuf() * 20_000 + bytes(1024))
    passed = PassedOver()
    tracemalloc.start()
    number = sum(1 for _ in of_tar(stream.read, lambda: 1, passed))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (number, passed.problems) == (20_000, [])
    assert peak < 2 * MIB


# -- zip -----------------------------------------------------------------------------------------


def zipped(files: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out


def test_a_zip_is_read_and_unsafe_names_are_not() -> None:
    passed = PassedOver()
    files = zipped({**FILES, "../dmesg": b"bad", "/dmesg": b"bad"})
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(files, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert {each.name: read(each) for each in of_zip(files, passed)} == FILES
    assert (passed.links, passed.unsafe, passed.problems) == (1, 2, [])


@pytest.mark.parametrize("keep", [10, 100, -30, -10])
def test_a_zip_cut_short(keep: int) -> None:
    with pytest.raises(DamagedArchiveError, match="the zip is damaged"):
        list(of_zip(io.BytesIO(zipped(FILES).getvalue()[:keep]), PassedOver()))


def test_a_zip_with_a_list_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_members, "_LIST", 100)
    with pytest.raises(DamagedArchiveError, match="give the folder"):
        list(of_zip(zipped(FILES), PassedOver()))


def test_a_member_that_is_damaged_is_an_error_of_its_own() -> None:
    data = bytearray(zipped({"dmesg": os.urandom(5000), "good": b"good"}).getvalue())
    data[1000:1010] = bytes(10)
    members = of_zip(io.BytesIO(bytes(data)), PassedOver())
    with pytest.raises(DamagedArchiveError, match="the zip is damaged"):
        read(next(members))
    assert read(next(members)) == b"good"


def test_a_zip_bomb_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_members, "_FLOOR", 1000)
    bomb = zipped({"dmesg": bytes(10 * MIB)})
    members = of_zip(bomb, PassedOver())
    member = next(members)
    with pytest.raises(DamagedArchiveError, match="256 times its size"):
        read(member)
