# SPDX-License-Identifier: GPL-2.0-only
"""Creates a file atomically: it exists whole or not at all.

Promises: nothing that exists is ever overwritten, also when another process makes the same name
meanwhile; while it is written the file has another name in the same folder; after any exception
nothing is left.
"""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from recordings.format.header import RecordingError
from recordings.format.output_files import exists_already

#: A file system without hard links: FAT, exFAT, some network and FUSE ones (link(2)).
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to that becomes ``path``, mode 0600, when the block ends.

    Raises ``RecordingError`` if ``path`` exists, or cannot be made or written to.
    """
    if os.path.lexists(path):
        raise exists_already(path)
    try:
        descriptor, name = tempfile.mkstemp(".part", ".vmemscope-", path.parent)
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or error
        raise RecordingError(f"{path}: cannot be created: {text}") from error
    part = Path(name)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor is no path)
            yield file
            file.flush()
            os.fsync(descriptor)
        _name(part, path)
    except FileExistsError as error:
        raise exists_already(path) from error
    except OSError as error:
        text = error.strerror or str(error)
        raise RecordingError(f"{path}: cannot be written: {text}") from error
    finally:
        part.unlink(missing_ok=True)


def _name(part: Path, path: Path) -> None:
    try:
        path.hardlink_to(part)  # unlike a rename it replaces nothing
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError from error
        part.rename(path)
