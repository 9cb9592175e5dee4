"""Translate errors of the operating system: an `OSError` in the language in use, without errno or English text."""

from __future__ import annotations

import errno
import socket
from typing import Final

from sigprobe.words.i18n import N_, _

_ERRNO: Final = {
    errno.EACCES: N_("permission denied"),
    errno.EPERM: N_("permission denied"),
    errno.ENOENT: N_("no such file or directory"),
    errno.ENOTDIR: N_("a part of the path is not a directory"),
    errno.EISDIR: N_("it is a directory"),
    errno.EEXIST: N_("it already exists"),
    errno.ENODEV: N_("it is not a regular file"),
    errno.ENOSPC: N_("the disk is full"),
    errno.EDQUOT: N_("the disk quota is used up"),
    errno.EROFS: N_("the file system is read-only"),
    errno.EIO: N_("the disk reports an error"),
    errno.ENAMETOOLONG: N_("the name is too long"),
    errno.EMFILE: N_("too many open files"),
    errno.ECONNREFUSED: N_("connection refused"),
    errno.ECONNRESET: N_("connection reset"),
    errno.EPIPE: N_("connection closed"),
    errno.ETIMEDOUT: N_("no answer in time"),
    errno.ENETUNREACH: N_("network unreachable"),
    errno.ENETDOWN: N_("the network is down"),
    errno.EHOSTUNREACH: N_("host unreachable"),
    errno.EADDRINUSE: N_("the address is in use"),
    errno.EADDRNOTAVAIL: N_("this device does not have that address"),
}
_LOOKUP: Final = {
    "EAI_NONAME": N_("the name does not exist"),
    "EAI_NODATA": N_("the name has no address"),
    "EAI_AGAIN": N_("no DNS server answers"),
    "EAI_FAIL": N_("the DNS server refuses to answer"),
}


def reason_text(error: BaseException) -> str:
    """Return the cause of an error in words. An error that is not in the table keeps its own text."""
    if isinstance(error, TimeoutError):
        return _("no answer in time")
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror):
        for name, words in _LOOKUP.items():
            if number is not None and getattr(socket, name, None) == number:
                return _(words)
        return _("the name cannot be looked up")
    if number in _ERRNO:
        return _(_ERRNO[number])
    if isinstance(error, ValueError) and "null byte" in str(error):
        return _("the name contains a null byte")
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
