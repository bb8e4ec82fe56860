# SPDX-License-Identifier: GPL-2.0-only
"""Kernels booted with what ``vmemscope boot`` prints for their image.

Every probe is taken; what they catch is what the kernel's own text has, and what ``record`` has of
the same load.
"""

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.compare import left_nothing, same_calls
from tests.lab.early import early
from tests.lab.harness import TOP, Boot, Kernel, Lab, Recording

pytestmark = pytest.mark.long

#: What /init does with the module before there is a root.
LOAD = "/busybox insmod /modules/devpriv.ko start={} size_mb={} && /busybox rmmod devpriv"
GIB = 1 << 30
MOVABLE = "memhp_default_state=online_movable"  # so that it can be taken back
KINDS = (
    *("memremap", "memunmap", "add_pages", "remove_pages", "section_add", "section_remove"),
    *("populate", "free", "warn"),
)


def parameters(image: Path, *options: str) -> str:
    """Return what the command prints for an image: data alone on stdout."""
    command = [TOP / ".venv/bin/vmemscope", "boot", image, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    return line


def with_driver(of: Kernel, lab: Lab, folder: Path, start: str, size: str) -> Kernel:
    """Return a kernel whose initramfs loads a driver, and the load for the guest's script."""
    module = folder / "devpriv.ko"
    module.write_bytes(of.modules["devpriv.ko"].read_bytes())
    initrd = folder / "initrd"
    busybox = lab.folder / "root/bin/busybox"
    initrd.write_bytes(b"".join(early(busybox, module, LOAD.format(start, size))))
    more = {}
    keys = "".join(f"{each}\n" for each in bootconfig_lines(of.image))
    for name, text in (("start", start), ("size", size), ("bootconfig", keys)):
        (folder / name).write_text(text)
        more[name] = folder / name
    return replace(of, initrd=initrd, modules={**of.modules, **more})


def bootconfig_lines(image: Path) -> list[str]:
    """Return what trace_boot_add_kprobe_event() makes of the keys; no kernel here reads them."""
    script = (
        "import sys; from pathlib import Path\n"
        "from tracers.constants.image.kernel_image import open_kernel\n"
        "from tracers.live.boot.plan import plan_for_image\n"
        "with open_kernel(Path(sys.argv[1])) as image:\n"
        "    for event in plan_for_image(image).events:\n"
        "        print('p:kprobes/%s %s' % event.bootconfig())\n"
    )
    command = [TOP / ".venv/bin/python", "-c", script, image]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=TOP)
    return done.stdout.splitlines()


def taken(boot: Boot, line: str) -> None:
    """Assert that the kernel has every probe that was asked for, and no complaint of it."""
    asked = re.findall(r"[;=](?:p|r\d+):vmemscope/(\w+),", line)
    has = re.findall(
        r"^(?:p|r\d+):vmemscope/(\w+) ", boot.text("before.kprobe_events"), re.MULTILINE
    )
    assert has == asked
    assert "Failed to add event" not in boot.text("dmesg")
    assert "Could not probe notrace" not in boot.text("dmesg")


def caught(boot: Boot, scene: str = "boot", state: str = "before") -> Recording:
    """Assert that a collection is the ring's text, event by event; return it."""
    ours, text = boot.recording(scene), boot.text(f"{state}.trace")
    assert ours.lost() == 0
    events = Counter(re.findall(r": boot_(\w+): \(", text))
    rows = Counter(
        row["kind"] + "_ret" * (row["phase"] == "exit")
        for row in ours.rows
        if row["source"] != "derived"
    )
    assert rows == events
    profile = re.findall(
        r"^ +boot_(\w+) +(\d+) +0$", boot.text(f"{state}.kprobe_profile"), re.MULTILINE
    )
    assert {name: int(hits) for name, hits in profile if int(hits)} == dict(events)
    return ours


def untouched(boot: Boot) -> None:
    """Assert that collecting twice changed nothing that the kernel shows, and said the same."""
    for name in ("trace", "kprobe_events", "kprobe_profile", "stats"):
        assert boot.text(f"before.{name}") == boot.text(f"after.{name}"), name
    assert boot.recording("again").rows == boot.recording("boot").rows


def calls(ours: Recording, kind: str) -> list[tuple[Any, ...]]:
    names = ("start", "end", "nid", "site", "line")
    names += () if kind == "populate" else ("pfn", "nr_pages")  # derived: known from __add_pages
    return [tuple(row[name] for name in names) for row in ours.of(kind, None) if not ended(row)]


def ended(row: dict[str, Any]) -> bool:
    return bool(row["phase"] == "exit")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(each, marks=pytest.mark.xdist_group(f"boot-{each[0]}"), id=each[0])
        for each in (("6.1", "0x5000000000", "16384"), ("6.12", "0x2000000000", "2048"))
    ],
)
def driver(
    request: pytest.FixtureRequest,
    lab: Lab,
    lab_kernel: Callable[[str], Kernel],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, str, Boot]:
    name, start, size = request.param
    of = with_driver(lab_kernel(name), lab, tmp_path_factory.mktemp("early"), start, size)
    line = parameters(of.image)
    return name, line, lab.boot(of, "boot.sh", append=f"quiet {line}", timeout_s=600)


def test_a_driver_of_the_initramfs_is_caught(driver: tuple[str, str, Boot]) -> None:
    name, line, boot = driver
    taken(boot, line)
    ours = caught(boot)
    untouched(boot)
    warns = int(boot.text("boot.warn_count"))
    assert len(ours.of("warn")) == warns == {"6.1": 256, "6.12": 0}[name]
    assert len(ours.of("section_add")) == {"6.1": 128, "6.12": 16}[name]
    assert boot.exit_code("boot") == {"6.1": 1, "6.12": 0}[name]


def test_it_equals_record_of_the_same_load(driver: tuple[str, str, Boot]) -> None:
    _, _, boot = driver
    first, again = boot.recording("boot"), same_calls(boot, "recorded")
    for kind in KINDS:
        assert calls(first, kind) == calls(again, kind), kind
    for kind in ("add_pages", "section_add", "free"):
        ends = [[row["ret"] for row in each.of(kind, "exit")] for each in (first, again)]
        assert ends[0] == ends[1], kind


def test_the_running_kernel_says_what_its_image_does(driver: tuple[str, str, Boot]) -> None:
    _, line, boot = driver
    assert boot.exit_code("live") == 0
    assert boot.text("live.text") == f"{line}\n"


def test_others_leave_the_probes_alone_until_they_are_removed(
    driver: tuple[str, str, Boot],
) -> None:
    _, _, boot = driver
    # `record` and `doctor` ran between: neither took them for leftovers
    assert boot.text("kept.kprobe_events") == boot.text("before.kprobe_events")
    assert "boot probes" in boot.text("doctor.text")
    assert len(boot.recording("removed").rows) == 2 * len(boot.recording("boot").rows)
    left_nothing(boot, "end")


def test_the_keys_of_a_boot_configuration_make_the_same_probes(
    driver: tuple[str, str, Boot],
) -> None:
    _, _, boot = driver
    assert not (boot.out / "refused").exists()
    first, again = boot.recording("boot"), boot.recording("keys")
    assert again.lost() == 0
    for kind in KINDS:
        assert calls(first, kind) == calls(again, kind), kind
    assert again.header["probes"] == first.header["probes"]
    left_nothing(boot, "keys")


@pytest.mark.parametrize(
    "series",
    [
        pytest.param(series, marks=pytest.mark.xdist_group(f"boot-debian-{series}"))
        for series in ("6.1", "6.12", "7.x")
    ],
)
def test_stock_kernels_catch_memory_that_is_plugged_at_boot(
    lab: Lab, debian: Callable[[str], Kernel], tmp_path: Path, series: str
) -> None:
    of = debian(series)
    line = parameters(of.image)
    (tmp_path / "undo").write_text("")
    of = replace(of, name=f"{of.name}-boot", modules={**of.modules, "undo": tmp_path / "undo"})
    boot = lab.boot(
        of, "boot.sh", append=f"{MOVABLE} {line}", memory=True, plugged=GIB, timeout_s=600
    )
    taken(boot, line)
    untouched(boot)
    ours = caught(boot)
    # behind the guest's 2 GiB from 0x40000000: 1 GiB in sections of 128 MiB
    sections = [(row["pfn"], row["nr_pages"]) for row in ours.of("section_add")]
    assert sections == [(0xC0000 + number * 0x8000, 0x8000) for number in range(8)]
    assert boot.exit_code("boot") == 0
    freed = caught(boot, "freed", "freed")
    assert len(freed.of("free")) == 8
    assert calls(freed, "populate") == calls(ours, "populate")
    left_nothing(boot, "end")


def test_a_ring_that_runs_over_is_no_whole_recording(
    lab: Lab, lab_kernel: Callable[[str], Kernel], tmp_path: Path
) -> None:
    of = with_driver(lab_kernel("6.1"), lab, tmp_path, "0x5000000000", "32768")
    line = parameters(of.image, "--buffer", "64K")
    of = replace(of, name="6.1-overrun")
    boot = lab.boot(of, "boot.sh", append=f"quiet {line}", timeout_s=600)
    ours = boot.recording("boot")
    profile = re.findall(
        r"^ +boot_\w+ +(\d+) +0$", boot.text("before.kprobe_profile"), re.MULTILINE
    )
    left = len(re.findall(r": boot_\w+: \(", boot.text("before.trace")))
    assert ours.lost() == sum(map(int, profile)) - left > 0
    assert "are not in the ring" in boot.text("boot.text")
