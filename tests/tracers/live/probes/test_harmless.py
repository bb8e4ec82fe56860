# SPDX-License-Identifier: GPL-2.0-only
"""The function that probes are tried on: where it is watched, on kernels that have it and not."""

import struct

from tracers.constants.image.symbols import Symbol, read_map
from tracers.kinds import Kind
from tracers.live.probes.harmless import harmless
from tracers.live.probes.points import Rung
from tracers.live.probes.running_kernel import HARMLESS, RunningKernel

AT = 0xFFFF800080100000
NAME = HARMLESS["aarch64"]
#: As objdump shows one: two nops, paciasp, stp, mov, mrs, bl, ldp, autiasp, ret.
CODE = (
    *(0xD503201F, 0xD503201F, 0xD503233F, 0xA9BF7BFD, 0x910003FD),
    *(0xD5384100, 0x94001234, 0xA8C17BFD, 0xD50323BF, 0xD65F03C0),
)
CALL = 4 * 6


class Text:
    """The kernel's text as far as it is asked for."""

    def __init__(self, code: tuple[int, ...]) -> None:
        self.code = struct.pack(f"<{len(code)}I", *code)

    def symbols(self, names):
        return {NAME: Symbol(NAME, AT, None)} if NAME in names else {}

    def extent(self, symbol):
        return symbol.va, symbol.va + len(self.code)

    def read(self, at, size):
        return self.code[at - AT :][:size]


def running(tmp_path, code=CODE, name=NAME) -> RunningKernel:
    path = tmp_path / "kallsyms"
    path.write_text(f"{AT:016x} T _stext\n{AT:016x} T {name}\n{AT + 256:016x} T _etext\n")
    kernel = RunningKernel("aarch64", names=read_map(path), text=Text(code))
    kernel.functions = {NAME: 77}
    return kernel


def test_every_rung_has_its_probe(tmp_path) -> None:
    probes = harmless(running(tmp_path))
    assert set(probes) == {Rung.FENTRY, Rung.KPROBE, Rung.CALLSITE, Rung.BREAKPOINT}
    assert probes[Rung.FENTRY].btf == 77
    for rung, probe in probes.items():
        assert (probe.kind, probe.rung, probe.timed) == (Kind.SECTION_ADD, rung, True)
    entry, exit_ = AT + CALL, AT + CALL + 4
    assert [each.address for each in probes[Rung.KPROBE].entries] == [AT]
    site, stop = probes[Rung.CALLSITE], probes[Rung.BREAKPOINT]
    assert [each.address for each in (*site.entries, *site.exits)] == [entry, exit_]
    assert [each.address for each in (*stop.entries, *stop.exits)] == [AT, exit_]
    assert str(site.exits[0]) == f"{NAME}+0x{CALL + 4:x}"


def test_without_a_call_in_it_or_its_code_two_rungs_are_left_out(tmp_path) -> None:
    kernel = running(tmp_path, CODE[:6])
    assert set(harmless(kernel)) == {Rung.FENTRY, Rung.KPROBE}
    kernel.text, kernel.functions = None, {}
    assert set(harmless(kernel)) == {Rung.KPROBE}


def test_a_kernel_without_it_has_none(tmp_path) -> None:
    assert harmless(running(tmp_path, name="other")) == {}
    assert harmless(RunningKernel("aarch64")) == {}
    assert harmless(RunningKernel("riscv64")) == {}
