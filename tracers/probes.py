"""What a capture had probes on, read from its ``kprobe_events`` file.

A probe that was never placed and a function that was never called leave the same trace: none.
This file tells them apart, and promises nothing about probes placed by other means.
"""

import re

# "p:kprobes/warn __warn file=…" and "r10:kprobes/warn_ret __warn": kernel
# Documentation/trace/kprobetrace.rst, "Synopsis of kprobe_events". An offset ("+0x8") or a
# module ("mod:") names another place than the function's entry.
_LINE = re.compile(r"^(?P<type>p|r\d*)(?::\S+)?\s+(?P<function>[A-Za-z_]\w*(?:\.\w+)*)(?=\s|$)")


def read_kprobe_events(text: str) -> dict[str, str]:
    """Map each probed function to how: "entry", "return" or "entry+return"."""
    seen: dict[str, set[str]] = {}
    for line in text.splitlines():
        if match := _LINE.match(line.strip()):
            side = "entry" if match["type"] == "p" else "return"
            seen.setdefault(match["function"], set()).add(side)
    return {function: "+".join(sorted(sides)) for function, sides in seen.items()}
