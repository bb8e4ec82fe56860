# SPDX-License-Identifier: GPL-2.0-only
"""Finds the distribution's BCC module from any interpreter, also inside a virtual environment.

``bcc`` is no package of PyPI (the one there computes lattices): it comes with the distribution
as python3-bpfcc or python3-bcc, pure Python over libbcc.so.0, so any CPython can load it from
where it lies. Only that package is loaded; its directory does not enter ``sys.path``.
"""

import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from tracers.live.probes.engine import LiveError

#: Where Debian and Ubuntu; Fedora and Arch; and BCC's own "make install" put it.
_PLACES: Final = (
    "usr/lib/python3/dist-packages",
    "usr/lib/python3*/site-packages",
    "usr/lib/python3*/dist-packages",
    "usr/local/lib/python3*/dist-packages",
    "usr/local/lib/python3*/site-packages",
)
_NAME: Final = "_distribution_bcc"  # "bcc" itself may be taken by PyPI's
_WAY_OUT: Final = (
    "install python3-bpfcc (Debian, Ubuntu), python3-bcc (Fedora) or python-bcc (Arch), "
    "or use --engine tracefs"
)


def find_bcc(root: Path = Path("/"), path: Sequence[str] | None = None) -> ModuleType:
    """Return BCC's module, which has ``BPF``. ``path``: where to look last, as ``sys.path``.

    Raises ``LiveError`` with what to install where there is none, or none that loads.
    """
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    failed = ""
    for package in _packages(root, sys.path if path is None else path):
        try:
            return _load(package)
        except Exception as error:  # noqa: BLE001 - foreign code: whatever it raises, we go on
            failed = failed or f"BCC in {package} does not load ({_one_line(error)}): "
    raise LiveError(f"{failed or 'BCC is not installed: '}{_WAY_OUT}")


def describe(root: Path = Path("/")) -> str:
    """Return where BCC is and which release, for ``doctor``. Raises ``LiveError`` as above."""
    module = find_bcc(root)
    place = Path(module.__file__ or "").parent
    return f"{place} {getattr(module, '__version__', '')}".rstrip()


def _packages(root: Path, path: Sequence[str]) -> Iterator[Path]:
    """Yield the directories that hold BCC, not another ``bcc``: it has the binding's file."""
    places = [found for place in _PLACES for found in sorted(root.glob(place), reverse=True)]
    for place in [*places, *map(Path, path)]:
        package = place / "bcc"
        # Path.is_file raises where it may not look: sys.path may lead into another's home
        if all(os.access(package / name, os.R_OK) for name in ("__init__.py", "libbcc.py")):
            yield package


def _load(package: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        _NAME, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(name=_NAME)
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # older releases have escapes that newer Pythons mind
            spec.loader.exec_module(module)
        module.BPF  # noqa: B018 - an AttributeError says what is missing
    except BaseException:
        for name in [each for each in sys.modules if each.split(".")[0] == _NAME]:
            del sys.modules[name]
        raise
    return module


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
