# SPDX-License-Identifier: GPL-2.0-only
"""Drives the lab from Python: finds kernels, boots one with a script, reads what it left behind.

``Lab.boot`` puts a script of guest/ and the whole installed project into a guest and waits for
it to power off; ``Boot`` gives what the scenes left: our recording, read with plain pyarrow, and
the kernel's own ftrace of the same time, read line by line. Nothing here imports vmemscope.
Where the machine lacks something it raises ``Missing``, which says what to install.
"""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

HERE: Final = Path(__file__).resolve().parent
TOP: Final = HERE.parent.parent
SHARED: Final = TOP.parent / "shared" / "lab"  # kernels built before
CACHE: Final = Path(
    os.environ.get("VMEMSCOPE_LAB")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vmemscope-lab"
)

#: Kernels that ./kernel builds.
BUILDABLE: Final = ("6.1", "6.1-once", "6.12")
#: The console line by which a guest asks the host for virtio-mem memory, in bytes.
_MEMORY: Final = re.compile(r"LAB: memory (\d+)")
#: The console line by which a guest asks the host for a dump of its memory, by that name.
_DUMP: Final = re.compile(r"LAB: dump (\w+)")
_PANIC: Final = "---[ end Kernel panic"
#: Suffix of a dump, and QEMU's name for the format.
DUMPS: Final = {"core": "elf", "kdump": "kdump-zlib"}
#: One line of the kernel's trace: thread, CPU, seconds, event, arguments.
_TRACE: Final = re.compile(
    r"^\s*(?P<comm>.{1,16})-(?P<tid>\d+)\s+\[(?P<cpu>\d+)\]\s+\S+\s+(?P<s>\d+)\.(?P<us>\d{6}): "
    r"(?P<name>\w+): \((?P<place>.*?)\)(?P<rest>.*)$"
)


class Missing(Exception):  # noqa: N818 (a reason to skip, not an error)
    """This machine cannot run the lab, or a part of it; the text says what would help."""


@dataclass(frozen=True)
class Kernel:
    """An image, its initramfs, and its modules: name in the guest's /lab/ko → file."""

    name: str
    image: Path
    modules: dict[str, Path]
    initrd: Path | None = None


@dataclass(frozen=True)
class Call:
    """One line of the kernel's own trace."""

    name: str  # of the probe: "free", "free_ret", …
    comm: str
    tid: int
    cpu: int
    us: int
    place: str
    args: dict[str, int]


@dataclass(frozen=True)
class Recording:
    """A recording's rows and metadata as plain Arrow gives them."""

    rows: list[dict[str, Any]]
    header: dict[str, Any]
    closing: dict[str, Any] | None  # metadata of the last batch, if it is the closing record

    def of(self, kind: str, phase: str | None = "entry") -> list[dict[str, Any]]:
        """Return the rows of a kind, in file order; ``phase`` None: of every phase."""
        return [row for row in self.rows if row["kind"] == kind and phase in (None, row["phase"])]

    def lost(self) -> int:
        """Return what the closing record says is missing, in all."""
        assert self.closing is not None, "there is no closing record"
        return sum(self.closing[key] for key in ("lost", "lost_unknown", "torn", "rejected"))


class Boot:
    """What one boot left: files of its scenes in ``out``, and its console."""

    def __init__(self, out: Path, console: str) -> None:
        self.out = out
        self.console = console

    def text(self, name: str) -> str:
        """Return a file's text."""
        return (self.out / name).read_text(errors="replace")

    def exit_code(self, scene: str) -> int:
        """Return the exit code of a scene's command."""
        return int(self.text(f"{scene}.rc"))

    def warns(self, scene: str) -> int:
        """Return by how much the kernel's own count of WARNs grew during a scene."""
        before, after = map(int, self.text(f"{scene}.warns").split())
        return after - before

    def truth(self, scene: str) -> list[Call]:
        """Return the kernel's own trace of a scene; fails where its ring buffer lost something."""
        text = self.text(f"{scene}.truth")
        counts = re.search(r"entries-in-buffer/entries-written: (\d+)/(\d+)", text)
        assert counts is None or counts[1] == counts[2], "the kernel's own trace lost events"
        matches = [_TRACE.match(line) for line in text.splitlines()]
        return [
            Call(
                match["name"],
                match["comm"].strip(),
                int(match["tid"]),
                int(match["cpu"]),
                int(match["s"]) * 1_000_000 + int(match["us"]),
                match["place"],
                {key: int(value, 0) for key, value in re.findall(r"(\w+)=(\w+)", match["rest"])},
            )
            for match in matches
            if match
        ]

    def dump(self, name: str) -> Path:
        """Return where a dump of the guest's memory is, such as "panic.core"."""
        return self.out.parent / name

    def recording(self, scene: str) -> Recording:
        """Return a scene's recording."""
        return read(self.out / f"{scene}.arrows")


def read(path: Path) -> Recording:
    """Read a recording with plain Arrow, as far as it goes."""
    rows: list[dict[str, Any]] = []
    closing = None
    with pa.ipc.open_stream(path) as stream:
        header = json.loads(stream.schema.metadata[b"vmemscope"])
        try:
            while True:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
                rows += batch.to_pylist()
                about = json.loads(metadata[b"vmemscope"])
                closing = about if about.get("end") else None
        except (StopIteration, pa.ArrowInvalid, OSError):
            pass
    return Recording(rows, header, closing)


def rootfs() -> Path:
    """Return the folder with the guest's root and the stock kernels; made if need be (a minute)."""
    done = subprocess.run([HERE / "rootfs"], capture_output=True, text=True, check=False)
    if done.returncode == 2:
        raise Missing(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def kernel(name: str) -> Kernel:
    """Return a lab kernel: "6.1", "6.1-once", "6.12" or "7.3-64k"."""
    series = name.removesuffix("-once")
    built = CACHE / "kernels" / name
    if (SHARED / f"Image-{name}.gz").exists():
        image, folder = SHARED / f"Image-{name}.gz", SHARED / "modules"
        modules = {
            "devpriv.ko": folder / f"devpriv-{name}.ko",
            "test_hmm.ko": folder / f"test_hmm-{series}.ko",
        }
    elif (built / "Image.gz").exists():
        image = built / "Image.gz"
        modules = {path.name: path for path in (built / "modules").glob("*.ko")}
    else:
        if name not in BUILDABLE:
            raise Missing(f"no lab kernel {name}: it is in ../shared/lab, and not built here")
        raise Missing(f"no lab kernel {name}: `make lab-kernels` builds them (10-20 minutes each)")
    return Kernel(name, image, modules)


def generator(of: Kernel) -> Kernel:
    """Return the kernel with vmemgen.ko, built now if there is none (a minute, once)."""
    return with_modules(of, "vmemgen.ko")


def with_modules(of: Kernel, name: str = "region.ko") -> Kernel:
    """Return the kernel with the module ``name``, built now if there is none (a minute, once)."""
    if name in of.modules:
        return of
    if shutil.which("aarch64-linux-gnu-gcc") is None:
        raise Missing(f"no cross compiler for {name} (Debian: apt install gcc-aarch64-linux-gnu)")
    done = subprocess.run(
        [HERE / "kernel", of.name, "modules"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(f"{name} cannot be built: {done.stderr.strip().splitlines()[-1]}")
    module = Path(done.stdout.strip()) / "modules" / name
    return Kernel(of.name, of.image, {**of.modules, name: module}, of.initrd)


def stock(series: str, folder: Path) -> Kernel:
    """Return Debian's own kernel: "6.1", "6.12" or "7.x"; it comes without a module of ours.

    "7.x" is sid's, whatever that is: its ``version`` lies beside it.
    """
    where = folder / f"stock-{series}"
    image = where / "vmlinuz"
    return Kernel(f"debian-{series}", image, {"vmlinuz": image}, where / "initrd")


class Lab:
    """A root folder and the installed project; boots are independent of each other."""

    def __init__(self, work: Path) -> None:
        if shutil.which("qemu-system-aarch64") is None:
            raise Missing("no qemu-system-aarch64 (Debian, Ubuntu: apt install qemu-system-arm)")
        self.folder = rootfs()
        self._work = work
        self._project = work / "vmemscope"
        self._install()

    def boot(
        self,
        of: Kernel,
        script: str,
        *,
        append: str = "",
        memory: bool = False,
        port: bool = False,
        timeout_s: int = 300,
        cpu: str = "",
        dump: str = "",
        plugged: int = 0,
        label: str = "",
    ) -> Boot:
        """Boot a kernel, run guest/SCRIPT as root, and return what it left.

        ``append``: more kernel arguments. ``cpu``: QEMU's name of one, in place of a Cortex-A57.
        ``memory``: 4 GiB of virtio-mem that the guest asks for with "LAB: memory BYTES"; it has
        ``plugged`` bytes of it from the start. ``port``: a virtio-serial port, kept as
        stream.arrows. ``dump``: the guest has so much memory, of which the host makes dumps when it
        says "LAB: dump NAME" (/out/NAME.dumped is there when they are), and, named "panic", when it
        panics, with which it ends: it wants panic=0. ``label``: tells boots of one script apart.
        """
        more = [cpu.partition(",")[0]] * bool(cpu) + ["port"] * port + [label] * bool(label)
        work = self._work / "-".join((of.name, Path(script).stem, *more))
        lab, out = work / "lab", work / "out"
        (lab / "ko").mkdir(parents=True)
        out.mkdir()
        shutil.copytree(self._project, lab / "vmemscope")
        shutil.copy(HERE / "guest" / "lib.sh", lab)
        shutil.copy(HERE / "guest" / script, lab / "run")
        for name, path in of.modules.items():
            shutil.copy(path, lab / "ko" / name)
        if (device := lab / "ko" / "devpriv.ko").exists():  # once more, as a module of another name
            second = device.read_bytes().replace(b"devpriv\0", b"devprib\0")
            (lab / "ko" / "devprib.ko").write_bytes(second)
        control = work / "qmp"
        extra = ["-qmp", f"unix:{control},server=on,wait=off"]
        if memory:
            extra += ["-object", "memory-backend-ram,id=plugged,size=4G"]
            device = f"virtio-mem-pci,id=memory,memdev=plugged,requested-size={plugged}"
            extra += ["-device", device]
        if port:
            extra += ["-device", "virtio-serial-pci,id=serial"]
            extra += ["-chardev", f"file,id=port,path={out / 'stream.arrows'}"]
            extra += ["-device", "virtserialport,chardev=port,name=stream"]
        if dump:
            extra += ["-device", "vmcoreinfo"]
        settings = {
            "TIMEOUT": str(timeout_s),
            "APPEND": append,
            **({"CPU": cpu} if cpu else {}),
            "MEM": "2G,maxmem=8G" if memory else dump or "2G",
            **({"INITRD": str(of.initrd)} if of.initrd else {}),
        }
        console = _run(
            [HERE / "boot", of.image, self.folder / "root", lab, out, *extra], settings, control
        )
        (work / "console").write_text(console)
        never = out / "never"
        assert not never.exists(), f"never shown: {never.read_text()}"
        return Boot(out, console)

    def _install(self) -> None:
        """Install the project's wheel, built from a copy: nothing is written into the sources."""
        python = TOP / ".venv" / "bin" / "python"
        source = self._work / "source"
        source.mkdir(parents=True)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(TOP / name, source)
        for name in ("recordings", "tracers", "tui", "vmemscope"):
            shutil.copytree(TOP / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(TOP / "docs", source / "docs")  # man page, unit and completions
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        wheels = self._work / "wheels"
        subprocess.run(
            [*pip, "wheel", "--no-deps", "--wheel-dir", wheels, source], check=True, timeout=300
        )
        subprocess.run(
            [*pip, "install", "--no-deps", "--target", self._project, *wheels.glob("*.whl")],
            check=True,
            timeout=300,
        )
        command = self._project / "bin" / "vmemscope"
        command.write_text("#!/usr/bin/python3\n" + command.read_text().partition("\n")[2])


def _run(command: Sequence[Path | str], settings: dict[str, str], control: Path) -> str:
    """Run ./boot and plug the memory that the guest asks for; return the console."""
    console = []
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **settings},
    )
    assert process.stdout is not None
    with process:
        for line in process.stdout:
            console.append(line)
            if request := _MEMORY.search(line):
                _plug(control, int(request[1]))
            elif name := _DUMP.search(line):
                _dump(control, name[1])
            elif _PANIC in line and "panic=0" in settings["APPEND"]:
                _dump(control, "panic")
                _commands(control, [("quit", {})])
    return "".join(console)


def _plug(control: Path, size: int) -> None:
    """Set how much memory the virtio-mem device shall have plugged, over QMP."""
    where = {"path": "/machine/peripheral/memory", "property": "requested-size", "value": size}
    _commands(control, [("qom-set", where)])


def _dump(control: Path, name: str) -> None:
    """Write the guest's memory beside ``control``, in every form; the guest stands meanwhile."""
    files = {control.parent / f"{name}.{suffix}": kind for suffix, kind in DUMPS.items()}
    command = "dump-guest-memory"
    _commands(
        control,
        [
            ("stop", {}),
            *(
                (command, {"paging": False, "protocol": f"file:{path}", "format": kind})
                for path, kind in files.items()
            ),
            ("cont", {}),
        ],
    )
    (control.parent / "out" / f"{name}.dumped").touch()


def _commands(control: Path, commands: list[tuple[str, dict[str, Any]]]) -> None:
    """Have QEMU do something, over QMP."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control))
        with connection.makefile("rw") as channel:
            channel.readline()  # the greeting
            for command, arguments in [("qmp_capabilities", {}), *commands]:
                channel.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
                channel.flush()
                while "event" in (reply := json.loads(channel.readline())):
                    pass
                assert "return" in reply, reply
