# SPDX-License-Identifier: GPL-2.0-only
"""One kernel log in every form that is read: ``python -m tests.tracers.logs.dmesg.forms``.

It writes forms/, a file a form, and docs/log-forms.md, the table of what is read of each. The log
is real: two splats of the lab's 6.1 and its Oops, 20 s later. A form changes what stands around
the kernel's text, or how a tool rewrote it, never its numbers.
"""

import base64
import json
import quopri
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.tracers.logs.dmesg import splat_texts
from tests.tracers.logs.dmesg.splat_texts import Stamped, prefixed, stamped
from tracers.logs.dmesg import lines as grammars
from tracers.logs.dmesg.reader import DmesgLog
from tracers.logs.input_files import Input
from tracers.machine import read_machine

FOLDER = Path(__file__).parent / "forms"
PAGE = Path(__file__).parents[4] / "docs/log-forms.md"
CAPTURES = Path(__file__).parents[3] / "captures/6.1.192-vmemlab-39bit"
_LATER = 20_000_000  # microseconds
_PLACE = re.compile(rb"([A-Za-z_][\w.]*)\+0x([0-9a-f]+)/0x[0-9a-f]+( \[\w+\])?")


def log() -> Stamped:
    """Return the log: (microseconds, text) of each line."""
    oops = (CAPTURES / "wrap.console.txt").read_bytes()
    oops = oops[oops.index(b"[    1.402893]") : oops.index(b"[    1.408034]")]
    return [
        *stamped((CAPTURES / "below.dmesg.txt").read_bytes()),
        *((us + _LATER, text) for us, text in stamped(oops)),
    ]


def decoded(lines: Stamped) -> Stamped:
    """Rewrite places as scripts/decode_stacktrace.sh does."""

    def place(found: re.Match[bytes]) -> bytes:
        line = int(found[2], 16) + 100
        where = b"arch/arm64/mm/mmu.c:1222 (discriminator 1)"
        if b"vmemmap_populate" not in found[1]:
            where = (
                b"arch/arm64/mm/mmu.c:1268" if b"vmemmap_free" in found[1] else b"mm/x.c:%d" % line
            )
        return (
            found[1]
            + b" ("
            + where
            + b")"
            + (found[3] or b"").replace(b"[", b"").replace(b"]", b"")
        )

    return [(us, _PLACE.sub(place, text)) for us, text in lines]


def symbolized(lines: Stamped) -> Stamped:
    """Add files, lines and inlined functions as syzkaller does."""

    def located(found: re.Match[bytes]) -> bytes:
        return found[0] + b" mm/x.c:%d" % (int(found[2], 16) + 1)

    out: Stamped = []
    for us, text in lines:
        if re.match(rb" sparse_add_section|memmap_init_zone_device", text):
            out.append((us, b" section_activate mm/sparse.c:800 [inline]"))
        out.append((us, _PLACE.sub(located, text)))
    return out


def red_hat(lines: Stamped) -> Stamped:
    """Print the taint as Red Hat's kernels do."""
    taint = re.compile(rb"(Tainted: [A-Z ]+?) +(6\.1)")
    return [(us, taint.sub(rb"\1        -------  --- \2", text)) for us, text in lines]


def marked(lines: Stamped) -> Stamped:
    """Mark frames as kernels since 6.13 do."""
    return [
        (us, text + (b" (P)" if text.startswith(b" ") and b"+0x" in text else b""))
        for us, text in lines
    ]


def dmesg_json(lines: Stamped) -> bytes:
    """Print what dmesg --json does."""
    records = ",".join(
        f'{{\n         "pri": 4,\n         "time": {us // 10**6:5}.{us % 10**6:06},\n'
        f'         "msg": {json.dumps(text.decode())}\n      }}'
        for us, text in lines
    )
    return f'{{\n   "dmesg": [\n      {records}\n   ]\n}}\n'.encode()


def journal_json(lines: Stamped) -> bytes:
    """Print what journalctl -k -o json does."""
    return b"".join(
        json.dumps(
            {
                "__REALTIME_TIMESTAMP": str(1_700_000_000_000_000 + us),
                "_SOURCE_MONOTONIC_TIMESTAMP": str(us),
                "_TRANSPORT": "kernel",
                "MESSAGE": list(text) if number % 9 == 8 else text.decode(),
            }
        ).encode()
        + b"\n"
        for number, (us, text) in enumerate(lines)
    )


def journal_export(lines: Stamped) -> bytes:
    """Print what journalctl -k -o export does."""
    return b"".join(
        b"__CURSOR=s=%d\n__REALTIME_TIMESTAMP=%d\n_SOURCE_MONOTONIC_TIMESTAMP=%d\n"
        b"_TRANSPORT=kernel\n"
        % (number, 1_700_000_000_000_000 + us, us)
        + (
            b"MESSAGE\n" + len(text).to_bytes(8, "little") + text + b"\n\n"
            if number % 7 == 6
            else b"MESSAGE=" + text + b"\n\n"
        )
        for number, (us, text) in enumerate(lines)
    )


def loki(lines: Stamped) -> bytes:
    """Print what Loki's HTTP API answers."""
    values = [[str((1_700_000_000_000_000 + us) * 1000), text.decode()] for us, text in lines]
    result = [{"stream": {"job": "kernel"}, "values": values}]
    answer = {"status": "success", "data": {"resultType": "streams", "result": result}}
    return json.dumps(answer).encode() + b"\n"


def docker(lines: Stamped) -> bytes:
    """Print Docker's json-file."""
    return b"".join(
        json.dumps(
            {
                "log": prefixed([(us, text)], "dmesg").decode(),
                "stream": "stdout",
                "time": "2026-11-25T03:18:40.000000001Z",
            }
        ).encode()
        + b"\n"
        for us, text in lines
    )


def quoted_printable(lines: Stamped) -> bytes:
    """Send it as a mail whose lines are encoded."""
    head = (
        b"From: a@example.org\nSubject: [BUG] WARN\nContent-Transfer-Encoding: quoted-printable\n\n"
    )
    return head + quopri.encodestring(prefixed(lines, "dmesg"))


def attached(lines: Stamped) -> bytes:
    """Attach it to a mail."""
    body = base64.encodebytes(prefixed(lines, "dmesg"))
    return (
        b'From: a@example.org\nContent-Type: multipart/mixed; boundary="x"\n\n--x\n'
        b"Content-Type: text/plain\n\nsee the log\n--x\nContent-Type: text/plain; name=dmesg.txt\n"
        b"Content-Transfer-Encoding: base64\n\n" + body + b"--x--\n"
    )


def page(lines: Stamped) -> bytes:
    """Show it on a page."""
    text = prefixed(lines, "dmesg").decode()
    for char, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, name)
    return (
        "<!DOCTYPE html>\n<html><head><title>WARNING: a log</title><style>pre {}</style></head>"
        f"<body><p>The log:</p><pre>{text}</pre></body></html>\n"
    ).encode()


def twice(lines: Stamped) -> bytes:
    """Put dmesg's output behind the console's."""
    return prefixed(lines, "dmesg", b"\r\n") + prefixed(lines, "dmesg")


class Form(NamedTuple):
    """A form: how the log is put into it, and where its grammar is from."""

    make: Callable[[Stamped], bytes]
    source: str


def _printed(change: Callable[[Stamped], Stamped]) -> Callable[[Stamped], bytes]:
    return lambda lines: prefixed(change(lines), "dmesg")


def _grammar(name: str) -> str:
    """Return who writes lines as ``splat_texts.PREFIXES[name]`` prints them."""
    raw = prefixed([(6_347_350, b"x")], name).rstrip(b"\n")
    raw = re.sub(rb"^[>| ]+|\x1b\[[0-9;]*m", b"", raw)
    if raw == b"x":
        return "none: the kernel's text alone"
    rows = (grammars.PRINTK, *grammars.VENDOR)
    found = [row for row in rows if row.pattern.search(raw, 0, 200)]
    if not found or found == [grammars.PRINTK]:
        outer = (grammars.KMSG, *grammars.OUTER)
        found += [row for row in outer if row.pattern.match(raw)]
    return "; ".join(dict.fromkeys(row.source for row in found)) or "learned from the log itself"


FORMS: dict[str, Form] = {
    **{
        name: Form(lambda lines, name=name: prefixed(lines, name), _grammar(name))
        for name in splat_texts.PREFIXES
    },
    "console (CR LF)": Form(
        lambda lines: prefixed(lines, "dmesg", b"\r\n"), "drivers/tty/serial/serial_core.c"
    ),
    "until 5.13: two registers a line": Form(
        _printed(splat_texts.two_a_line), "arch/arm64/kernel/process.c until 0bca3ec846d7"
    ),
    "from 6.19 on": Form(_printed(splat_texts.as_6_19), "kernel/panic.c: __warn, since 6.19"),
    "from 6.13 on: marked frames": Form(
        _printed(marked), "arch/arm64/kernel/stacktrace.c since c2c6b27b5aa1"
    ),
    "Red Hat's taint": Form(_printed(red_hat), "Red Hat's kernel/panic.c: print_tainted"),
    "decode_stacktrace.sh": Form(_printed(decoded), "scripts/decode_stacktrace.sh"),
    "syzbot": Form(_printed(symbolized), "syzkaller pkg/symbolizer"),
    "wrapped mail": Form(
        lambda lines: splat_texts.wrapped(prefixed(lines, "mail"), 72, b"> "), "RFC 3676"
    ),
    "dmesg --json": Form(dmesg_json, "util-linux sys-utils/dmesg.c, since 2.38"),
    "journalctl -o json": Form(journal_json, "systemd.journal-fields(7)"),
    "journalctl -o export": Form(journal_export, "systemd: Journal Export Formats"),
    "Loki, HTTP API": Form(loki, "Grafana Loki HTTP API: query_range"),
    "Docker json-file": Form(docker, "Docker: JSON File logging driver"),
    "mail, quoted-printable": Form(quoted_printable, "RFC 2045, 6.7"),
    "mail, attached (base64)": Form(attached, "RFC 2045, 6.8; RFC 2046"),
    "HTML": Form(page, "HTML"),
    "UTF-16, little endian": Form(
        lambda lines: b"\xff\xfe" + prefixed(lines, "dmesg").decode().encode("utf-16le"),
        "Unicode 15, 23.8",
    ),
    "UTF-16, big endian": Form(
        lambda lines: b"\xfe\xff" + prefixed(lines, "dmesg").decode().encode("utf-16be"),
        "Unicode 15, 23.8",
    ),
    "console, then dmesg": Form(twice, "counted once, by times and registers"),
}


def path_of(name: str) -> Path:
    """Return the file of a form."""
    name = name.replace("-T", "ctime")  # beside -t
    return FOLDER / (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".txt")


class Read(NamedTuple):
    """What is read of a file."""

    splats: int
    proven: int
    oopses: int
    pages: int  # Oopses whose struct page is proven
    rows: list[dict[str, object]]
    log: DmesgLog


def read(path: Path) -> Read:
    """Read a file of the lab's 6.1 by arithmetic, with its machine and without its vmlinux."""
    with Input(path) as source:
        source.take_out()
        reader = DmesgLog(source, window=read_machine(CAPTURES).window)
        rows = [row for batch in reader.batches() for row in batch.events.to_pylist()]
    known = [row for row in rows if row["start"] is not None]
    return Read(
        sum(row["kind"] == "warn" for row in rows),
        sum(row["kind"] in {"populate", "free"} for row in known),
        sum(row["kind"] == "fault" for row in rows),
        sum(row["kind"] == "fault" for row in known),
        rows,
        reader,
    )


_INTRODUCTION = """\
Two splats of the lab's 6.1 and its Oops, in every form that is read, each a file in
[tests/tracers/logs/dmesg/forms](../tests/tracers/logs/dmesg/forms). *By grep*: lines of that file
with `WARNING: CPU:` or `WARNING: arch/`. *Splats*: read. *Proven*: calls whose start and end are
known, by arithmetic from the registers. *Oopses*: read, and those whose struct page and pfn are
proven. A prefix that no grammar knows is learned from the first line of a report, and taken off the
others. Written by `python -m tests.tracers.logs.dmesg.forms`; a test holds it. What a splat tells:
[dmesg.md](dmesg.md).""".splitlines()


def table() -> str:
    """Return the page."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# The forms of a kernel log"
    yield ""
    yield from _INTRODUCTION
    yield ""
    yield "| form | by grep | splats | proven | Oopses | proven | grammar |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, form in FORMS.items():
        path = path_of(name)
        found = read(path)
        grep = sum(
            re.search(rb"WARNING: (?:CPU:|arch/)", line) is not None
            for line in path.read_bytes().splitlines()
        )
        numbers = (grep, found.splats, found.proven, found.oopses, found.pages)
        cells = " | ".join(map(str, numbers))
        yield f"| [{name}](../{path.relative_to(PAGE.parents[1])}) | {cells} | {form.source} |"


def main() -> None:
    """Write the files and the page."""
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.iterdir():
        stale.unlink()
    lines = log()
    for name, form in FORMS.items():
        path_of(name).write_bytes(form.make(lines))
    PAGE.write_text(table())


if __name__ == "__main__":
    main()
