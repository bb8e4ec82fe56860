# SPDX-License-Identifier: GPL-2.0-only
"""The window of a vmlinux, against the plain way: ``python -m benchmarks.constants VMLINUX…``.

The plain way is what one writes with pyelftools in ten minutes: ``get_symbol_by_name`` for the
function whose code holds the constants, and a walk through the DWARF up to ``struct page`` for its
size. It finds less (an address and a size, no window). Both are processes of their own; figures
are user + system CPU seconds and peak RSS, whole process, imports included.
"""

import json
import subprocess
import sys
from pathlib import Path

from elftools.elf.elffile import ELFFile

_WAYS = {
    "window": ["-m", "vmemscope", "window", "--json"],
    "plain": ["-m", "benchmarks.constants", "--plain"],
}


def plain(path: Path) -> tuple[int, int | None]:
    """Return the address of vmemmap_free and sizeof(struct page), the plain way."""
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        symbol = elf.get_section_by_name(".symtab").get_symbol_by_name("vmemmap_free")[0]
        if not elf.has_dwarf_info():
            return symbol["st_value"], None
        for unit in elf.get_dwarf_info().iter_CUs():
            for die in unit.iter_DIEs():
                name = die.attributes.get("DW_AT_name")
                if (
                    die.tag == "DW_TAG_structure_type"
                    and name is not None
                    and name.value == b"page"
                    and "DW_AT_byte_size" in die.attributes
                ):
                    return symbol["st_value"], die.attributes["DW_AT_byte_size"].value
    return symbol["st_value"], None


def measure(arguments: list[str], path: Path) -> tuple[float, float, str]:
    """Run one way; return CPU seconds, peak RSS in MiB and what it printed."""
    # A process between, so that the peak is this child's alone.
    code = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, done.stdout]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, sys.executable, *arguments, str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    cpu, peak, text = json.loads(done.stdout)
    return cpu, peak, text


def main(paths: list[Path]) -> None:
    """Print a row for each kernel."""
    print("| kernel | MB | window | methods | CPU s | peak MiB | plain: CPU s | peak MiB | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for path in paths:
        cpu, peak, text = measure(_WAYS["window"], path)
        told = json.loads(text)
        ways = sum(found["start"] == told["start"] for found in told["methods"].values())
        row = [
            f"{told['release']}",
            f"{path.stat().st_size / 1e6:.0f}",
            f"{told['start']} - {told['end']}",
            f"{ways}, {'agree' if told['agree'] else 'DISAGREE'}",
            f"{cpu:.2f}",
            f"{peak:.0f}",
        ]
        plain_cpu, plain_peak, said = measure(_WAYS["plain"], path)
        row += [f"{plain_cpu:.1f}", f"{plain_peak:.0f}", f"{plain_cpu / cpu:.0f}x"]
        print("|", " | ".join(row if said else [*row[:6], "-", "-", "no symbols"]), "|", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plain"]:
        print(*plain(Path(sys.argv[2])))
    elif len(sys.argv) < 2:
        sys.exit("usage: python -m benchmarks.constants VMLINUX…")
    else:
        main([Path(name) for name in sys.argv[1:]])
