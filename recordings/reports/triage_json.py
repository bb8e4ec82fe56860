# SPDX-License-Identifier: GPL-2.0-only
"""A triage as JSON: every log with its own report, and what would settle its doubts.

Promises: keys are added, never removed; ``report`` is what ``vmemscope report --json`` prints.
"""

from collections.abc import Sequence
from typing import Any, Final

from recordings.ledger.snapshot import Verdict
from recordings.reports.advice import advice
from recordings.reports.recording_json import report_dict
from recordings.triage.reading import Reading
from recordings.triage.triage import Triaged

VERSION: Final = 1


def triage_dict(told: Sequence[Triaged], verdict: Verdict | None) -> dict[str, Any]:
    """Return all that a triage found, ready for ``json.dumps``."""
    return {
        "version": VERSION,
        "verdict": None if verdict is None else verdict.value,
        "files": [_file(each) for each in told],
    }


def _file(told: Triaged) -> dict[str, Any]:
    return {
        "file": told.file,
        "verdict": None if told.verdict is None else told.verdict.value,
        "readings": [_reading(each, told.readings[0]) for each in told.readings],
        "problems": list(told.problems),
        "remarks": list(told.remarks),
    }


def _reading(reading: Reading, first: Reading) -> dict[str, Any]:
    return {
        "name": reading.name,
        "what": reading.what,
        "verdict": reading.verdict.value,
        "tells": reading.tells,
        "beside_first": None if reading is first else reading.beside(first),
        "machine_files": list(reading.machine_files),
        "report": report_dict(reading.header, reading.snapshot, closing=reading.closing),
        "advice": [
            {
                "doubt": each.doubt.value,
                "reason": each.reason,
                "steps": [
                    {"why": step.why, "command": "\n".join(step.command), "gives": step.gives}
                    for step in each.steps
                ],
            }
            for each in advice(reading.header, reading.snapshot)
        ],
    }
