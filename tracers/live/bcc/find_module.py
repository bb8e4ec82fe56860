# SPDX-License-Identifier: GPL-2.0-only
"""Loads the distribution's BCC module into any interpreter, also in a virtual environment.

BCC is not on PyPI (the ``bcc`` there computes lattices). Distributions ship it as python3-bpfcc or
python3-bcc, pure Python over libbcc.so.0, so any CPython can load it from where it is installed.
Only that package is loaded; its directory is not added to ``sys.path``.
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
_DIRECTORIES: Final = (
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
    """Return BCC's module, which has ``BPF``. ``path``: where to search last, as ``sys.path``.

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
    directory = Path(module.__file__ or "").parent
    return f"{directory} {getattr(module, '__version__', '')}".rstrip()


def installed(root: Path = Path("/")) -> bool:
    """Return whether BCC is there at all, whether it loads or not."""
    return any(True for _ in _packages(root, sys.path))


def _packages(root: Path, path: Sequence[str]) -> Iterator[Path]:
    """Yield the directories that hold BCC, not another ``bcc``: it has the binding's file."""
    directories = [
        found for directory in _DIRECTORIES for found in sorted(root.glob(directory), reverse=True)
    ]
    for directory in [*directories, *map(Path, path)]:
        package = directory / "bcc"
        # Path.is_file raises where access is denied: sys.path may lead into another user's home
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
        for name in [loaded for loaded in sys.modules if loaded.split(".")[0] == _NAME]:
            del sys.modules[name]
        raise
    return module


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
