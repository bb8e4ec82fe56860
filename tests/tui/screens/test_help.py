# SPDX-License-Identifier: GPL-2.0-only
"""Every key has its line in the help."""

import pytest

from recordings.explore.filter import KEYS as TERM_KEYS
from tui.dashboard.app import ReplayApp
from tui.dashboard.live_app import LiveApp
from tui.screens.help import KEYS, LIVE_KEYS, TERMS
from tui.widgets.span_tree import SpanTree

#: How the help writes keys that it does not call by Textual's name.
WRITTEN = {
    "left": "←", "right": "→", "minus": "-", "plus": "+", "comma": ",", "full_stop": ".",
    "slash": "/", "question_mark": "?", "left_square_bracket": "[", "right_square_bracket": "]",
    "escape": "esc", "shift+left": "shift", "shift+right": "shift",
}  # fmt: skip
#: In the help as a range: "1-5".
PAGES = {"1", "2", "3", "4", "5"}


@pytest.mark.parametrize(("app", "keys"), [(ReplayApp, KEYS), (LiveApp, LIVE_KEYS)])
def test_every_key_is_in_the_help(app, keys):
    words = {word.strip(";:,") or word for line in keys for part in line for word in part.split()}
    written = words | {word for each in words for word in each.split("+")}
    for binding in (*app.BINDINGS, *SpanTree.BINDINGS):
        key = binding.key.split(",")[0]
        if key != "ctrl+c" and key not in PAGES:
            assert WRITTEN.get(key, key) in written, key
    assert "1-5" in words


def test_every_term_of_the_filter_is_in_the_help():
    assert [term for term, _ in TERMS] == [f"{key}:" for key in TERM_KEYS]
