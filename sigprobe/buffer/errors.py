"""What can keep a result from being saved. Each names the failure code whose sentence the screen shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


class StorageError(Exception):
    """The queue could not be written or read; the result is NOT saved."""

    code = "storage_failed"


class DiskFullError(StorageError):
    """The file system has no room left."""

    code = "disk_full"


class BufferLimitError(StorageError):
    """The queue has reached its configured size; nothing was dropped to make room."""

    code = "buffer_limit"


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn the database's and the file system's errors into ours, keeping the technical words."""
    try:
        yield
    except apsw.FullError as error:
        raise DiskFullError(str(error)) from error
    except apsw.Error as error:
        raise StorageError(f"{type(error).__name__}: {error}") from error
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise DiskFullError(str(error)) from error
        raise StorageError(str(error)) from error
