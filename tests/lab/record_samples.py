# SPDX-License-Identifier: GPL-2.0-only
"""Records the bundled storms in booted kernels: ``make samples-lab``.

Each is what our own ``record`` saw in the lab's kernel (guest/sample.sh), with its default engine.
Beside the captures of that kernel goes what the kernel itself logged of the same moments: the
tests take what they expect of the recording from there. A run is kept only if nothing of it is
missing, the kernel's counts agree with it, and the host left the guest its time; what was there
before stays until both runs are good. Record on an idle host.
"""

import lzma
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.lab.compare import SECTION_PAGES
from tests.lab.harness import TOP, Boot, Lab, Missing, Recording, kernel

#: sample: (lab kernel, its folder of captures, WARNs that its storm has)
SAMPLES: Final = {
    "storm": ("6.1", "6.1.192-vmemlab-39bit", 256),
    "storm-once": ("6.1-once", "6.1.192-vmemlab-once-39bit", 2),
}
SECTIONS: Final = [0x5000000 + number * SECTION_PAGES for number in range(128)]  # pfns
#: The kernel's log of the recorded run, beside the captures of that kernel.
LOG: Final = "recorded.dmesg.txt.xz"

_MOST_BYTES: Final = 60_000
_TRIES: Final = 5
#: A call of this length was not let run: a tick of these kernels (CONFIG_HZ=250), of which a WARN
#: takes a tenth. The first calls of a kind may be as slow by themselves.
_TICK_NS: Final = 4_000_000
_MOST_SLOW: Final = 2


def faults(boot: Boot, folder: Path, warns: int) -> Iterator[str]:
    """Yield what is wrong with a recorded storm, by plain means and the kernel's own counts."""
    ours, told = boot.recording("storm"), boot.text("storm.text")
    build = re.search(r"^BUILD-ID=(\w+)$", (folder / "kcore-vmcoreinfo").read_text(), re.MULTILINE)
    if build is None or ours.header["machine"]["build_id"] != build[1]:
        yield f"it is of another kernel than the captures in {folder.name}"
    if boot.exit_code("storm") != 1 or "OUT OF RANGE: 256 of 256 calls" not in told:
        yield f"its verdict is not that all 256 calls are out of range: {told}"
    if ours.closing is None or ours.closing["reason"] != "command ended" or ours.lost():
        yield f"it is not whole: {ours.closing}"
    if (size := (boot.out / "storm.arrows").stat().st_size) > _MOST_BYTES:
        yield f"it has {size} bytes"
    if boot.text("storm.left").strip():
        yield "it left probes in the kernel"
    yield from _miscounted(boot, ours, warns)


def _miscounted(boot: Boot, ours: Recording, warns: int) -> Iterator[str]:
    if [row["pfn"] for row in ours.of("section_add")] != SECTIONS:
        yield "its section-adds are not the 128 of the scene"
    for kind in ("section_add", "populate", "free"):
        sources = {row["source"] for row in ours.of(kind, None)}
        if len(ours.of(kind)) != 128 or len(ours.of(kind, "exit")) != 128 or "derived" in sources:
            yield f"{kind}: not 128 calls that were observed, each with its end"
    logged = re.findall(r"WARNING: .* at (\S+):(\d+) ", boot.text("storm.dmesg"))
    recorded = [len(ours.of("warn", phase)) for phase in ("entry", "exit")]
    counts = [*recorded, len(logged), boot.warns("storm")]
    if counts != [warns] * 4:
        yield f"WARNs recorded, ended, logged and counted: {counts}, not {warns} each"
    if [(row["site"], str(row["line"])) for row in ours.of("warn")] != logged:
        yield "the kernel logged WARNs of other sites"


def disturbed(ours: Recording) -> int:
    """Return how many calls took so long that the host, or another task, must have had the CPU."""
    took = [ns for kind in ("populate", "free") for ns in _durations(ours, kind)]
    return sum(ns >= _TICK_NS for ns in took)


def record(name: str, work: Path) -> Boot:
    """Boot until a run is good; exit with what is wrong if none is."""
    lab_kernel, folder, warns = SAMPLES[name]
    for attempt in range(1, _TRIES + 1):
        boot = Lab(work / f"{name}-{attempt}").boot(kernel(lab_kernel), "sample.sh")
        if wrong := list(faults(boot, TOP / "tests" / "captures" / folder, warns)):
            sys.exit(f"{name}: {'; '.join(wrong)}")
        if (slow := disturbed(boot.recording("storm"))) <= _MOST_SLOW:
            return boot
        load = f"load {os.getloadavg()[0]:.1f}"
        sys.stderr.write(f"{name}: {slow} calls were kept from running ({load}): once more\n")
    sys.exit(f"{name}: disturbed {_TRIES} times: record on an idle host; nothing was replaced")


def main() -> None:
    """Record both samples and put them, with their kernels' logs, in place."""
    with tempfile.TemporaryDirectory() as work:
        try:
            boots = {name: record(name, Path(work)) for name in SAMPLES}
        except Missing as reason:
            sys.exit(str(reason))
        for name, boot in boots.items():
            target = TOP / "recordings" / "samples" / f"{name}.arrows"
            target.write_bytes((boot.out / "storm.arrows").read_bytes())
            log = lzma.compress((boot.out / "storm.dmesg").read_bytes(), preset=9)
            (TOP / "tests" / "captures" / SAMPLES[name][1] / LOG).write_bytes(log)
            sys.stderr.write(f"{name}: {target.stat().st_size} bytes; its kernel's log beside it\n")


def _durations(ours: Recording, kind: str) -> list[int]:
    """Return how long each call took, in ns: there is one thread at a time, and none nests."""
    pairs = zip(ours.of(kind), ours.of(kind, "exit"), strict=False)  # _miscounted looks at both
    return [end["ts_ns"] - start["ts_ns"] for start, end in pairs]


if __name__ == "__main__":
    main()
