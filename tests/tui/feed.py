# SPDX-License-Identifier: GPL-2.0-only
"""Runs a command on a feed in place of the kernel: ``python -m tests.tui.feed JSON COMMAND…``.

JSON: ``sample``, and the keyword arguments of ``benchmarks.feed.Feed``; ``fails``: a call of the
source that raises OSError; ``done``: a file that is made once all was sent.
"""

import json
import sys
from pathlib import Path
from types import ModuleType

from benchmarks.feed import Feed
from recordings.samples import sample_path
from tracers.batch import Batch


def install(spec: dict[str, object]) -> None:
    """Make ``open_live`` return a feed."""
    fails = spec.pop("fails", None)
    done = spec.pop("done", None)
    path = sample_path(str(spec.pop("sample", "storm")))

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    def open_live(**_: object) -> Feed:
        feed = Feed(path, **spec)
        if done:
            poll = feed.poll

            def poll_and_mark(timeout_s: float) -> Batch | None:
                batch = poll(timeout_s)
                if batch is None:
                    Path(str(done)).touch()
                return batch

            feed.poll = poll_and_mark
        if fails:
            setattr(feed, str(fails), broken)
        return feed

    session = ModuleType("tracers.live.session")
    session.open_live = open_live
    session.Live = Feed
    sys.modules["tracers.live.session"] = session


if __name__ == "__main__":
    install(json.loads(sys.argv.pop(1)))
    from tui.program import main

    main()
