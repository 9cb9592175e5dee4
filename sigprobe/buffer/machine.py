"""Bind the probe's id to one machine and one copy of its directory, so that a cloned image gets a new id.

A small file beside `probe-id` stores salted hashes, never raw ids. They cover the machine id, built-in network cards
and disks, and the inode of `probe-id`. Only values that could be read both times are compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sigprobe.buffer import identity
from sigprobe.buffer.durability import file_system_of
from sigprobe.buffer.lock import FileLock
from sigprobe.record.foreign_json import read_object

ROOT: Final = Path("/")
_STABLE_INODES: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "jfs", "tmpfs", "overlay"}
)
"""File systems on which a file keeps its inode number until it is replaced."""
_IN_CONTAINER: Final = ("run/.containerenv", ".dockerenv", "run/systemd/container")
_MACHINE_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Traits:
    """Salted hashes that identify this machine and this copy; empty for unreadable values."""

    machine: str = ""
    hardware: frozenset[str] = frozenset()
    file: str = ""

    def is_other_than(self, before: Traits) -> bool:
        """Return True when these cannot be the machine and the copy of `before`."""
        return (
            bool(self.machine and before.machine and self.machine != before.machine)
            or bool(self.hardware and before.hardware and not self.hardware & before.hardware)
            or bool(self.file and before.file and self.file != before.file)
        )


@dataclass(frozen=True, slots=True)
class Binding:
    """Content of the file beside `probe-id`. `renewed_at` and `former_id` are those of the last new id, if any."""

    salt: str
    traits: Traits
    renewed_at: str | None = None
    former_id: str | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    """Keys of a later version, kept as they are."""


def binding_file(directory: Path) -> Path:
    """Return where the binding is kept."""
    return directory / "probe-machine.json"


def bind(directory: Path, probe_id: str, now: str, root: Path = ROOT) -> tuple[str, bool]:
    """Return the id for this machine, and whether it was created now.

    A directory from another machine, or a copy on this one, gets a new id; the original keeps the old one. Raises
    OSError when a new id is needed and cannot be written.
    """
    path = binding_file(directory)
    before = read(path)
    if before is not None and not _is_other(before, directory, root):
        return probe_id, False
    if before is None:
        with suppress(OSError):  # a read-only directory holds no results of ours either
            _write(path, Binding(salt := secrets.token_hex(16), traits(directory, salt, root)))
        return probe_id, False
    lock = FileLock(directory / "probe-machine.lock")
    try:
        with lock.exclusive():
            before = read(path)  # another process may have created the new id meanwhile
            if before is None or not _is_other(before, directory, root):
                return (directory / "probe-id").read_text(encoding="ascii").strip(), False
            fresh = str(uuid.uuid4())
            identity.replace_probe_id(directory, fresh)
            salt = secrets.token_hex(16)
            _write(path, Binding(salt, traits(directory, salt, root), now, probe_id, before.known))
            return fresh, True
    finally:
        lock.close()


def renewal(directory: Path) -> tuple[str, str] | None:
    """Return when this directory got a new id, and its former id; None if it never did."""
    found = read(binding_file(directory))
    return None if found is None or not found.renewed_at else (found.renewed_at, found.former_id or "")


def read(path: Path) -> Binding | None:
    """Read the binding; None when it is missing or unreadable."""
    try:
        document = read_object(path.read_bytes())
        known = {name: document[name] for name in document if name not in _KEYS}
        hardware = frozenset(text for text in document.get("hardware", ()) if isinstance(text, str))
        found = Traits(_text(document, "machine") or "", hardware, _text(document, "file") or "")
        salt = _text(document, "salt")
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    if not salt:
        return None
    return Binding(salt, found, _text(document, "renewed_at"), _text(document, "former_id"), known)


_KEYS: Final = frozenset(("salt", "machine", "hardware", "file", "renewed_at", "former_id"))


def traits(directory: Path, salt: str, root: Path = ROOT) -> Traits:
    """Return the readable traits of this machine and this copy, hashed with `salt`."""

    def hashed(kind: str, value: str) -> str:
        return hashlib.sha256(f"{salt}:{kind}:{value}".encode()).hexdigest()[:32] if value else ""

    return Traits(
        hashed("machine", _machine_id(root)),
        frozenset(hashed("hardware", value) for value in _hardware(root)),
        hashed("file", _inode(directory)),
    )


def _is_other(before: Binding, directory: Path, root: Path) -> bool:
    return traits(directory, before.salt, root).is_other_than(before.traits)


def _write(path: Path, binding: Binding) -> None:
    document = {
        **binding.known,
        "salt": binding.salt,
        "machine": binding.traits.machine,
        "hardware": sorted(binding.traits.hardware),
        "file": binding.traits.file,
        "renewed_at": binding.renewed_at,
        "former_id": binding.former_id,
    }
    identity.replace_file(path, json.dumps(document) + "\n")


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) and value else None


# --- machine identity -----------------------------------------------------------------------------------------


def _machine_id(root: Path) -> str:
    """Return the operating system's machine id; empty in containers, where each start may have another one."""
    if any((root / name).exists() for name in _IN_CONTAINER):
        return ""
    for name in ("etc/machine-id", "var/lib/dbus/machine-id"):
        found = _line(root / name)
        if _MACHINE_ID.fullmatch(found):
            return found
    return ""


def _hardware(root: Path) -> Iterator[str]:
    """Return ids of built-in parts that every user may read. USB parts are ignored, since they move between laptops."""
    for card in _entries(root / "sys/class/net"):
        if _is_built_in(card) and _line(card / "addr_assign_type") == "0":
            yield from _unless_zero(_line(card / "address"))
    for radio in _entries(root / "sys/class/ieee80211"):
        if _is_built_in(radio):
            yield from _unless_zero(_line(radio / "macaddress"))
    for disk in _entries(root / "sys/block"):
        if _is_built_in(disk):
            names = ("device/serial", "device/cid", "device/wwid", "wwid")
            yield from _unless_zero(next((text for name in names if (text := _line(disk / name))), ""))


def _unless_zero(text: str) -> Iterable[str]:
    return (text,) if re.search(r"[1-9a-z]", text.lower()) else ()


def _is_built_in(part: Path) -> bool:
    """Return True for a built-in part: it has a device that is not on USB."""
    try:
        device = (part / "device").resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return not any(name.startswith("usb") for name in device.parts)


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _inode(directory: Path) -> str:
    if file_system_of(directory) not in _STABLE_INODES:
        return ""
    try:
        return str(os.stat(directory / "probe-id").st_ino)  # noqa: PTH116 - as elsewhere in this room
    except OSError:
        return ""


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except (OSError, ValueError):
        return ""
