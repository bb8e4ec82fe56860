# SPDX-License-Identifier: GPL-2.0-only
"""Engine "kmsg": attaches nothing, and reads what the kernel logs of its WARNs and Oopses."""

from typing import Final

#: How it sees a call, the first word of what a header's ``probes`` say of it.
RUNG: Final = "log"
