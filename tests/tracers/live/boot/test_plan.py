# SPDX-License-Identifier: GPL-2.0-only
"""Which probes are planned: on an image, and on a running kernel that refuses some."""

import errno

import pytest

from tests.kernels.files import raw_image
from tests.tracers.live.boot.planned import planned
from tests.tracers.live.booted import TRACING
from tracers.constants.errors import ConstantsError
from tracers.constants.image.kernel_image import open_kernel
from tracers.live.boot.plan import plan_for_image, plan_for_running
from tracers.live.tracefs import cleanup


def test_where_an_entry_is_refused_its_call_is_probed():
    plan = planned()
    assert plan.probes["sparse_add_section"] == "callsite entry+return (bl at __add_pages+0xac)"
    assert plan.probes["vmemmap_populate"].startswith("derived from __add_pages (kprobe: notrace;")
    assert (plan.proven, plan.section_bytes) == (False, 128 << 20)


@pytest.mark.parametrize(
    "name", ["lab-6.12.117-48bit-4k", "debian-6.12.117-52bit-4k", "debian-7.2.13-4k"]
)
def test_from_6_11_on_every_entry_is_probed(name):
    plan = planned(name)
    assert {how for how in plan.probes.values() if not how.startswith("absent")} == {
        "kprobe entry+return"
    }


def test_an_image_without_names_is_one_line(tmp_path):
    image, _ = raw_image(tmp_path)
    with open_kernel(image) as opened, pytest.raises(ConstantsError, match="--system-map"):
        plan_for_image(opened)


class Tracefs:
    """kprobe_events of a kernel that refuses some functions."""

    def __init__(self, root, refused: tuple[str, ...]) -> None:
        self.file, self.refused = root / TRACING / "kprobe_events", refused
        self.there: dict[str, str] = {}
        self.most = 0

    def append(self, path, line: str) -> None:
        assert path == self.file
        if line.startswith("-:"):
            del self.there[line.removeprefix("-:")]
            path.write_text("".join(f"{each}\n" for each in self.there.values()))
            return
        what, place, *_ = line.split()
        if any(place.startswith(name) for name in self.refused):
            raise OSError(errno.EINVAL, "Invalid argument")
        name = what.partition(":")[2]
        if name in self.there:
            raise OSError(errno.EEXIST, "File exists")
        self.there[name] = line
        self.most = max(self.most, len(self.there))
        path.write_text("".join(f"{each}\n" for each in self.there.values()))


@pytest.mark.parametrize(
    ("refused", "how"),
    [
        (("sparse_add_section", "vmemmap_populate", "__populate"), "callsite entry+return"),
        ((), "kprobe entry+return"),
        (("sparse_add_section", "__add_pages+0xb0"), "no: kprobe: "),  # its end alone
    ],
)
def test_the_running_kernel_is_asked_and_left_as_it_was(machine, monkeypatch, refused, how):
    tracefs = Tracefs(machine, refused)
    monkeypatch.setattr(cleanup, "append", tracefs.append)
    monkeypatch.setattr(cleanup, "new_name", lambda _: "vmemscope_1_2_3_0")
    plan = plan_for_running(root=machine)
    assert plan.proven
    assert plan.probes["sparse_add_section"].startswith(how)
    assert tracefs.there == {}
    # nothing is left of a probe of which the kernel took only a part
    assert tracefs.most == len(plan.events)
