"""Check that the service of the whole device will find its user, and that this user can read what it needs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sigprobe.files import locations
from sigprobe.record.messages import N_, MessageError

if TYPE_CHECKING:
    import pwd

USER: Final = "sigprobe"
"""User and group of the units for the whole device."""

_NO_USER: Final = N_("The service runs as user {user}, which this device does not have yet. To create it: {command}")
_NO_SETTINGS: Final = N_(
    "The service runs as user {user}, which cannot read {path}. Copy the settings: {command} and add to this command: "
    "--config {system}"
)
_NO_TOKEN: Final = N_(
    "The service runs as user {user}, which cannot read the token file {path}. To allow it: {command}"
)
_CREATE: Final = "adduser --system --group --home /var/lib/sigprobe --no-create-home {user}"
_COPY: Final = "install -D -m 0644 {path} {system}"
_ALLOW: Final = "chown root:{user} {path} && chmod 0640 {path}"


class AccountError(MessageError):
    """Raised when the service could not run; the message has the command that mends it."""


def check(settings: Path, token_files: Iterable[Path]) -> None:
    """Check as root what the service needs. Raises AccountError; without root nothing can be checked.

    The service's user itself tries to read the files, so that access lists and closed directories count, too.
    """
    if os.geteuid() != 0:
        return
    import pwd

    try:
        account = pwd.getpwnam(USER)
    except KeyError:
        raise AccountError(_NO_USER, user=USER, command=_CREATE.format(user=USER)) from None
    path, system = settings.absolute(), locations.system_file()
    if not _can_read(account, path):
        command = _COPY.format(path=path, system=system)
        raise AccountError(_NO_SETTINGS, user=USER, path=path, system=system, command=command)
    for file in token_files:
        token = file.absolute()
        # a file that is missing is reported by `test` and `doctor`; the service may get it later
        if token.exists() and not _can_read(account, token):
            raise AccountError(_NO_TOKEN, user=USER, path=token, command=_ALLOW.format(user=USER, path=token))


def _can_read(account: pwd.struct_passwd, path: Path) -> bool:
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    tried = subprocess.run(  # noqa: S603 - fixed words and a path
        ("/usr/bin/test", "-r", str(path)),
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=groups,
        check=False,
        cwd="/",
    )
    return tried.returncode == 0
