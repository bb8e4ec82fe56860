# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's lists as it prints them, hidden, hashed, and as nobody prints them."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tracers.mapped.kernel_lists import Area, areas, modules, resources


def test_resources_with_their_nesting(captures: Path) -> None:
    found = resources((captures / "6.1.192-vmemlab-39bit" / "mapped" / "iomem").read_text())
    assert len(found) == 27
    (device,) = (each for each in found if each.name == "devpriv")
    assert (device.start, device.end, device.above) == (0x5000000000, 0x5040000000, ())
    (inner,) = (each for each in found if each.name == "virtio-pci-modern")
    assert inner.above == ("pcie@10000000", "0000:00:01.0")
    assert [each.name for each in found if each.ram] == ["System RAM"]


def test_hidden_addresses_are_none() -> None:
    assert resources("00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n") == ()
    assert areas("0x(____ptrval____)-0x(____ptrval____)    8192 bpf_jit+0x14/0x20 vmalloc\n") == ()
    assert areas("0x00000000fb40c43e-0x0000000019aa5e4d    8192 bpf_jit+0x14/0x20 vmalloc\n") == ()
    assert modules("devpriv 16384 0 - Live 0x0000000000000000 (OE)\n") == ()


def test_areas() -> None:
    """Linux 6.12: freed areas that wait for their purge are listed behind the others."""
    text = (
        "0xffff800080000000-0xffff800080011000   69632 __ioremap_prot+0x5c/0xa0"
        " phys=0x0000000008000000 ioremap\n"
        "0xffff800080020000-0xffff800080022000    8192 vm_map_ram\n"
        "0xffff800080030000-0xffff800080032000    8192 unpurged vm_area\n"
    )
    assert areas(text) == (
        Area(
            0xFFFF800080000000,
            0xFFFF800080011000,
            "__ioremap_prot+0x5c/0xa0 phys=0x0000000008000000 ioremap",
        ),
        Area(0xFFFF800080020000, 0xFFFF800080022000, "vm_map_ram"),
    )


def test_modules() -> None:
    text = (
        "devprib 16384 0 - Live 0xffffffc000809000 (O)\n"
        "xfs 1777664 2 loop,dm_mod, Live 0xffffffc000600000\n"
    )
    assert modules(text) == (
        ("devprib", 0xFFFFFFC000809000, 16384),
        ("xfs", 0xFFFFFFC000600000, 1777664),
    )


@given(st.text(alphabet="0x12f- :\n()LiveSystm RA", max_size=300))
def test_whatever_the_text_is(text: str) -> None:
    for read in (resources, areas, modules):
        read(text)
