# SPDX-License-Identifier: GPL-2.0-only
"""The JSON of ``vmemscope doctor``: keys are added, never renamed."""

from typing import Any

from tracers.kernel_functions import name
from tracers.live.doctor.examine import Diagnosis
from tracers.live.probes.ladder import Attached


def diagnosis_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return it JSON-safe; steps by distribution, "" for any."""
    return {
        "release": diagnosis.release,
        "arch": diagnosis.arch,
        "exit_code": diagnosis.exit_code,
        "engine": diagnosis.best.engine if diagnosis.best else None,
        "gaps": list(diagnosis.gaps),
        "checks": [
            {"name": c.name, "status": c.status, "said": c.finding, "steps": dict(c.steps)}
            for c in diagnosis.checks
        ],
        "engines": [
            {
                "engine": trial.engine,
                "failed": trial.failed or None,
                "sees": trial.sees or None,
                "notes": list(trial.notes),
                "points": [_point(point) for point in trial.attached],
            }
            for trial in diagnosis.trials
        ],
    }


def _point(point: Attached) -> dict[str, Any]:
    return {
        "kind": name(point.kind),
        "function": point.function,
        "how": point.how,
        "rung": point.probe.rung.value if point.probe else "derived" if point.derived else None,
        "absent": point.absent,
        "refused": {rung.value: why for rung, why in point.refused},
    }
