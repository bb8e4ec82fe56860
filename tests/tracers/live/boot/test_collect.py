# SPDX-License-Identifier: GPL-2.0-only
"""What a boot caught, read from the files of a booted 6.1; expected: its ring's text, line by line.

The kernel counted 256 WARNs, 128 sections were added and removed (booted.kprobe_profile).
"""

import re
from collections import Counter

import pytest

from tests.tracers.live.boot.planned import boot
from tests.tracers.live.booted import write
from tracers.live.boot.collect import Collected
from tracers.live.boot.counts import read_counts
from tracers.live.probes.engine import LiveError
from tracers.live.tracefs import cleanup


def contents(folder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(source: Collected) -> list[dict]:
    return [row for batch in source.batches() for row in batch.events.to_pylist()]


def lines(tracing) -> Counter:
    """Return how many lines of each event the ring's text has."""
    return Counter(re.findall(r": (boot_\w+): \(", (tracing / "trace").read_text()))


def test_every_line_is_a_row_and_nothing_is_changed(machine, captures):
    tracing = boot(machine, captures)
    before = contents(tracing)
    source = Collected(machine)
    found = rows(source)
    assert contents(tracing) == before
    kinds = Counter((row["kind"], row["phase"]) for row in found)
    derived = kinds.pop(("populate", "point"))
    expected = {
        (
            name.removeprefix("boot_").removesuffix("_ret"),
            ("entry", "exit")[name.endswith("_ret")],
        ): count
        for name, count in lines(tracing).items()
    }
    assert kinds == expected
    assert sum(kinds.values()) == sum(read_counts(tracing).hits.values()) == 1288
    assert derived == 128
    assert source.lost == 0
    assert {(row["kind"], row["source"]) for row in found} >= {
        ("section_add", "callsite"),
        ("free", "kprobe"),
        ("populate", "derived"),
    }


def test_arguments_are_the_texts(machine, captures):
    tracing = boot(machine, captures)
    found = rows(Collected(machine))
    text = (tracing / "trace").read_text()
    for name, kind, fields in (
        ("boot_free", "free", ("start", "end")),
        ("boot_section_add", "section_add", ("nid", "pfn", "nr_pages")),
        ("boot_section_remove", "section_remove", ("pfn", "nr_pages")),
        ("boot_remove_pages", "remove_pages", ("pfn", "nr_pages")),
        ("boot_warn", "warn", ("line",)),
    ):
        pattern = rf" (\d+)\.(\d{{6}}): {name}: .*?" + ".*?".join(
            rf"\b{field}=(\w+)" for field in fields
        )
        told = [
            (int(seconds) * 10**9 + int(micro) * 1000, *(int(value, 0) for value in values))
            for seconds, micro, *values in re.findall(pattern, text)
        ]
        ours = [
            (row["ts_ns"], *(row[field] for field in fields))
            for row in found
            if row["kind"] == kind and row["phase"] == "entry"
        ]
        assert ours == told, kind
    assert {row["site"] for row in found if row["kind"] == "warn"} == {None, "arch/arm64/mm/mmu.c"}
    ends = [row for row in found if row["kind"] == "section_add" and row["phase"] == "exit"]
    assert {row["ret"] for row in ends} == {0}
    # the struct pages that were mapped are those that were freed
    mapped = sorted((row["start"], row["end"]) for row in found if row["kind"] == "populate")
    freed = [row for row in found if row["kind"] == "free" and row["phase"] == "entry"]
    assert mapped == sorted((row["start"], row["end"]) for row in freed)


def test_the_header_says_what_it_is_of(machine, captures):
    boot(machine, captures)
    source = Collected(machine)
    assert source.machine.release == "6.1.192-vmemlab"
    assert source.probes["sparse_add_section"] == ("callsite entry+return (bl at __add_pages+0xac)")
    assert source.probes["vmemmap_populate"].startswith("derived from __add_pages")
    assert source.clock["name"] == "mono"
    assert source.origin["boot"]
    list(source.batches())
    assert "WARNs by witness: __warn 256, error_report_end 256, warn_count 0 since boot" in (
        source.closing()
    )


def test_what_the_ring_overwrote_is_counted_by_the_kernels_own_hits(machine, captures):
    tracing = boot(machine, captures)
    path = tracing / "trace"
    text = path.read_text().splitlines(keepends=True)
    head = [line for line in text if line.startswith("#")]
    kept = [line for line in text if not line.startswith("#")][-400:]
    path.write_text("".join(head + kept))
    source = Collected(machine)
    found = rows(source)
    events = sum(lines(tracing).values())
    assert source.lost == 1288 - events
    assert len([row for row in found if row["source"] != "derived"]) == events
    told = "\n".join(source.closing())
    assert "of 128 events of section_add (entry) are not in the ring" in told


def test_a_ring_that_ran_over_lost_what_the_kernel_says(machine, captures):
    tracing = boot(machine, captures, "booted-overrun")
    source = Collected(machine)
    found = rows(source)
    # 2568 hits; 1667 lines are left. The ring overwrote 1126 events, of which 225 were not ours:
    # an error_report_end for each WARN (512 in all, 287 left).
    assert sum(read_counts(tracing).hits.values()) == 2568
    assert sum(lines(tracing).values()) == 1667
    assert source.lost == 2568 - 1667 == 1126 - (512 - 287)
    assert len([row for row in found if row["source"] != "derived"]) == 1667
    told = source.closing()
    assert "225 of 512 events of warn (entry) are not in the ring" in told
    assert "the ring of cpu 1 lost, of whatever was in it: 1126 overrun" in told


def test_a_ring_that_was_emptied_is_no_clean_boot(machine, captures):
    tracing = boot(machine, captures)
    (tracing / "trace").write_text("# tracer: nop\n#\n")  # echo > trace: the rings count nothing
    source = Collected(machine)
    assert rows(source) == []
    assert source.lost == 1288


def test_missed_calls_are_losses_and_missed_returns_are_told(machine, captures):
    tracing = boot(machine, captures)
    path = tracing / "kprobe_profile"
    text = re.sub(r"(boot_free +128 +)0", r"\g<1>3", path.read_text())
    path.write_text(re.sub(r"(boot_free_ret +128 +)0", r"\g<1>5", text))
    source = Collected(machine)
    list(source.batches())
    assert source.lost == 3
    told = source.closing()
    assert "3 calls of vmemmap_free were missed by boot_free" in told
    assert "5 returns of vmemmap_free were missed: no free instance" in told


def test_without_the_profile_the_rings_own_counts_stand(machine, captures):
    tracing = boot(machine, captures)
    (tracing / "kprobe_profile").unlink()
    stats = tracing / "per_cpu/cpu1/stats"
    stats.write_text(stats.read_text().replace("\noverrun: 0", "\noverrun: 7"))
    source = Collected(machine)
    list(source.batches())
    assert source.lost == 7
    assert "the ring of cpu 1 lost, of whatever was in it: 7 overrun" in source.closing()


def test_call_sites_of_another_kernel_are_not_read(machine, captures):
    tracing = boot(machine, captures)
    path = tracing / "kprobe_events"
    path.write_text(path.read_text().replace("__add_pages+172", "__add_pages+168"))
    source = Collected(machine)
    found = rows(source)
    assert not [row for row in found if row["kind"] == "section_add"]
    assert len([row for row in found if row["kind"] == "populate"]) == 128  # by __add_pages
    assert any("boot_section_add" in note and "not read" in note for note in source.notes)
    assert source.probes["sparse_add_section"].startswith("no: ")


def test_a_namesake_elsewhere_is_not_ours(machine, captures):
    tracing = boot(machine, captures)
    path = tracing / "trace"
    line = next(each for each in path.read_text().splitlines() if "boot_free:" in each)
    other = line.replace("vmemmap_free+0x0", "kfree+0x0")
    path.write_text(f"{path.read_text()}{other}\n")
    assert len([row for row in rows(Collected(machine)) if row["kind"] == "free"]) == 256


def test_warns_of_other_code_are_counted_and_left_out(machine, captures):
    tracing = boot(machine, captures)
    path = tracing / "trace"
    text = path.read_text()
    entry = next(each for each in text.splitlines() if "boot_warn:" in each)
    end = next(each for each in text.splitlines() if "boot_warn_ret:" in each)
    other = entry.replace("arch/arm64/mm/mmu.c", "kernel/fork.c")
    path.write_text(f"{text}{other}\n{end}\n")
    source = Collected(machine)
    found = rows(source)
    assert len([row for row in found if row["kind"] == "warn"]) == 512
    assert "__warn 256 (and 1 elsewhere)" in "".join(source.closing())


def test_without_ends_calls_are_points(machine, captures):
    tracing = boot(machine, captures)
    path = tracing / "kprobe_events"
    kept = [each for each in path.read_text().splitlines() if "boot_free_ret" not in each]
    path.write_text("\n".join(kept) + "\n")
    found = rows(Collected(machine))
    phases = Counter(row["phase"] for row in found if row["kind"] == "free")
    assert phases == {"point": 128}


def test_no_probes_of_a_boot_are_one_line(machine):
    with pytest.raises(LiveError, match="vmemscope boot prints the parameters"):
        Collected(machine)


def test_removing_is_by_the_events_list_and_the_definitions(machine, captures, monkeypatch):
    boot(machine, captures)
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(cleanup, "append", lambda path, line: written.append((path.name, line)))
    assert Collected(machine).remove() == ()
    assert written[:2] == [
        ("set_event", "!vmemscope:boot_free"),
        ("kprobe_events", "-:vmemscope/boot_free"),
    ]
    assert len(written) == 32


def test_counts_of_namesakes_are_nobodys(tmp_path):
    write(tmp_path, {"kprobe_profile": "  a 1 0\n  b 2 0\n  a 3 0\n  torn 4\n"})
    assert read_counts(tmp_path).hits == {"b": 2}
