# SPDX-License-Identifier: GPL-2.0-only
"""Where BCC is searched for, and which packages are not BCC. The packages here are fake."""

import sys
from pathlib import Path

import pytest

from tracers.live.bcc import find_module
from tracers.live.bcc.find_module import describe, find_bcc
from tracers.live.probes.engine import LiveError


@pytest.fixture(autouse=True)
def _forget():
    yield
    for name in [each for each in sys.modules if each.startswith(find_module._NAME)]:
        del sys.modules[name]


def package(place: Path, init: str, libbcc: str | None = "lib = 'the library'\n") -> None:
    (place / "bcc").mkdir(parents=True)
    (place / "bcc/__init__.py").write_text(init)
    if libbcc is not None:
        (place / "bcc/libbcc.py").write_text(libbcc)


def bcc(place: Path, mark: str) -> None:
    package(place, f"from .libbcc import lib\nclass BPF: mark = {mark!r}\n")


@pytest.mark.parametrize(
    "place",
    [
        "usr/lib/python3/dist-packages",  # Debian, Ubuntu
        "usr/lib/python3.13/site-packages",  # Fedora, Arch
        "usr/local/lib/python3.12/dist-packages",
    ],
)
def test_found_in_the_distribution_without_touching_the_path(tmp_path, place) -> None:
    bcc(tmp_path / place, place)
    path, modules = list(sys.path), set(sys.modules)
    assert find_bcc(tmp_path, []).BPF.mark == place
    assert sys.path == path
    assert "bcc" not in set(sys.modules) - modules


def test_the_lattice_library_of_the_same_name_is_passed_over(tmp_path) -> None:
    package(tmp_path / "venv", "class Lattice: pass\n", libbcc=None)
    bcc(tmp_path / "other", "right")
    assert find_bcc(tmp_path, [str(tmp_path / "venv"), str(tmp_path / "other")]).BPF.mark == "right"


def test_one_that_does_not_load_is_passed_over_and_leaves_no_module(tmp_path) -> None:
    package(
        tmp_path / "usr/lib/python3/dist-packages",
        "from .libbcc import lib\n",
        "raise OSError('libbcc.so.0: cannot open shared object file')\n",
    )
    bcc(tmp_path / "other", "right")
    assert find_bcc(tmp_path, [str(tmp_path / "other")]).BPF.mark == "right"
    for name in ("", ".libbcc"):
        del sys.modules[find_module._NAME + name]
    with pytest.raises(LiveError) as raised:
        find_bcc(tmp_path, [])
    assert "libbcc.so.0: cannot open shared object file" in str(raised.value)
    assert "python3-bpfcc" in str(raised.value)
    assert not [name for name in sys.modules if name.startswith(find_module._NAME)]


def test_a_package_without_the_class_is_not_it(tmp_path) -> None:
    package(tmp_path / "usr/lib/python3/dist-packages", "")
    with pytest.raises(LiveError, match="BPF"):
        find_bcc(tmp_path, [])


def test_what_to_install_where_there_is_none(tmp_path) -> None:
    with pytest.raises(LiveError) as raised:
        find_bcc(tmp_path, [])
    for name in ("python3-bpfcc (Debian, Ubuntu)", "python3-bcc (Fedora)", "--engine tracefs"):
        assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_loaded_once(tmp_path) -> None:
    bcc(tmp_path / "usr/lib/python3/dist-packages", "once")
    assert find_bcc(tmp_path, []) is find_bcc(tmp_path, [])


def test_warnings_of_older_releases_are_no_errors(tmp_path) -> None:
    init = "import warnings\nwarnings.warn('old', SyntaxWarning)\nclass BPF: mark = 'old'\n"
    package(tmp_path / "usr/lib/python3/dist-packages", init)
    assert find_bcc(tmp_path, []).BPF.mark == "old"


def test_described_by_place_and_release(tmp_path) -> None:
    place = tmp_path / "usr/lib/python3/dist-packages"
    package(place, "__version__ = '0.26.0'\nclass BPF: pass\n")
    assert describe(tmp_path) == f"{place / 'bcc'} 0.26.0"
