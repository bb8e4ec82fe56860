# SPDX-License-Identifier: GPL-2.0-only
"""Makes bundled recordings from the kernels' own captures: ``make samples``.

    python -m recordings.samples.make CAPTURES

CAPTURES holds one folder a kernel with its ftrace text and side files. Equal captures give
equal recordings, byte for byte. The storms are not made here: ``record`` recorded them in booted
kernels (``make samples-lab``).
"""

import sys
from pathlib import Path

from recordings.capture.importing import import_log

#: sample name: (kernel folder, scene)
SCENES = {
    "in-range-6.1": ("6.1.192-vmemlab-39bit", "in-range"),
    "in-range-6.12": ("6.12.117-vmemlab-48bit", "in-range"),
    "below-6.1": ("6.1.192-vmemlab-39bit", "below"),
    "below-6.12": ("6.12.117-vmemlab-48bit", "below"),
    "silent-7.3": ("7.3.4-vmemlab-64k-52bit-on-48bit", "below"),
}


def main(captures: Path, out: Path) -> None:
    """Write every sample made from ``captures`` into ``out``, replacing what is there."""
    for name, (kernel, scene) in SCENES.items():
        target = out / f"{name}.arrows"
        target.unlink(missing_ok=True)
        folder = captures / kernel
        done = import_log(folder / f"{scene}.ftrace.txt", target, machine_dir=folder)
        target.chmod(0o644)
        sys.stderr.write(f"{name}: {done.events} events, {done.derived} of them derived\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m recordings.samples.make CAPTURES")
    main(Path(sys.argv[1]), Path(__file__).parent)
