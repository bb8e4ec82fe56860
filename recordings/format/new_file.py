# SPDX-License-Identifier: GPL-2.0-only
"""Creates a file atomically: it exists whole or not at all.

Promises: nothing that exists is ever overwritten, also when another process makes the same name
meanwhile; after any exception nothing is left, and where the file system has O_TMPFILE (ext4, xfs,
btrfs, tmpfs) not even after SIGKILL: the file has no name until it is whole. Elsewhere it has
another name in the same folder meanwhile.
"""

import contextlib
import errno
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from recordings.format.header import RecordingError
from recordings.format.output_files import exists_already

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: A file system without hard links: FAT, exFAT, some network and FUSE ones (link(2)).
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_DESCRIPTORS: Final = Path("/proc/self/fd")


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to that becomes ``path``, mode 0600, when the block ends.

    Raises ``RecordingError`` if ``path`` exists, or cannot be made or written to.
    """
    if os.path.lexists(path):
        raise exists_already(path)
    try:
        descriptor, part = _opened(path.parent)
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or error
        raise RecordingError(f"{path}: cannot be created: {text}") from error
    try:
        with io.BufferedWriter(_File(descriptor, path)) as file:
            yield file
            file.flush()
            _finish(descriptor, part, path)
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


class _File(io.FileIO):
    """A descriptor whose errors of writing name ``path``: those of what is read stay themselves."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__(descriptor, "wb")
        self._path = path

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write some of ``data``; raises ``RecordingError``."""
        try:
            return super().write(data)
        except OSError as error:
            raise _unwritable(self._path, error) from error


def _finish(descriptor: int, part: Path | None, path: Path) -> None:
    try:
        os.fsync(descriptor)
        if part is None:
            _name_unnamed(descriptor, path)
        else:
            _name(part, path)
    except FileExistsError as error:
        raise exists_already(path) from error
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> RecordingError:
    return RecordingError(f"{path}: cannot be written: {error.strerror or error}")


def _opened(folder: Path) -> tuple[int, Path | None]:
    """Return a new file's descriptor, and its name for now if it needs one."""
    with contextlib.suppress(OSError):  # of whatever kind: what has a name is told why it fails
        if _DESCRIPTORS.is_dir():
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), None
    descriptor, name = tempfile.mkstemp(".part", ".vmemscope-", folder)
    return descriptor, Path(name)


def _name_unnamed(descriptor: int, path: Path) -> None:
    # With src_dir_fd it is linkat(2) with AT_SYMLINK_FOLLOW, as open(2) shows for O_TMPFILE.
    os.link(_DESCRIPTORS / str(descriptor), path, src_dir_fd=descriptor, follow_symlinks=True)


def _name(part: Path, path: Path) -> None:
    try:
        path.hardlink_to(part)  # unlike a rename it replaces nothing
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError from error
        part.rename(path)
