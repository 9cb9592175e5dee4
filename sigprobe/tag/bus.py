"""Query the system's D-Bus for ModemManager. Nothing is loaded before the first connection."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

CALL_S: Final = 1.5
_DEFAULT: Final = "unix:path=/var/run/dbus/system_bus_socket"


class BusError(OSError):
    """Raised when the bus, or the service on it, is absent, refuses or returns an invalid answer."""


@dataclass(frozen=True, slots=True)
class Bus:
    """One open connection."""

    _connection: Any

    def call(self, service: str, path: str, interface: str, method: str, signature: str = "", *body: Any) -> Any:
        """Return the first value of a method's answer, without variant wrappers; None for an empty one. Raises
        BusError."""
        import jeepney

        try:
            address = jeepney.DBusAddress(path, bus_name=service, interface=interface)
            message = jeepney.new_method_call(address, method, signature or None, body)
            answer = self._connection.send_and_get_reply(message, timeout=CALL_S)
        except OSError as error:
            raise BusError(f"D-Bus: {error or type(error).__name__}") from error
        except Exception as error:
            raise BusError(f"D-Bus: {type(error).__name__}: {error}") from error
        if answer.header.message_type is jeepney.MessageType.error:
            name = answer.header.fields.get(jeepney.HeaderFields.error_name, "an error")
            raise BusError(f"{service} refuses {method}: {name}")
        if not answer.body:
            return None
        return opened(answer.header.fields.get(jeepney.HeaderFields.signature, ""), answer.body[0])

    def has(self, service: str) -> bool:
        """Return whether a service is running; asking does not start it."""
        there = self.call(
            "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner", "s", service
        )
        return there is True

    def get(self, service: str, path: str, interface: str, name: str) -> Any:
        """Return one property. Raises BusError."""
        return self.call(service, path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, name)


def opened(signature: str, value: Any) -> Any:
    """Return a D-Bus value without the signatures of its variants."""
    if signature == "v":
        inner, held = value
        return opened(inner, held)
    if signature.startswith("a{"):
        return {key: opened(signature[3:-1], held) for key, held in value.items()}
    return value


@contextmanager
def system_bus() -> Iterator[Bus]:
    """Connect to the system bus, with a short timeout. Raises BusError."""
    if not hasattr(socket, "AF_UNIX"):
        raise BusError("this system has no D-Bus")
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or _DEFAULT
    path = address.removeprefix("unix:path=").partition(",")[0]
    if address.startswith("unix:path=") and not os.path.exists(path):  # noqa: PTH110 - without loading anything
        raise BusError("this system has no D-Bus")
    from jeepney.bus import get_bus
    from jeepney.io.blocking import DBusConnection, prep_socket

    class Quick(DBusConnection):  # type: ignore[misc]
        """Connection with a timeout for its handshake, too."""

        def receive(self, *, timeout: float | None = None) -> Any:
            return super().receive(timeout=CALL_S if timeout is None else timeout)

    try:
        handle = prep_socket(get_bus(address), timeout=CALL_S)
        try:
            connection = Quick(handle)
        except BaseException:
            handle.close()
            raise
    except Exception as error:
        raise BusError(f"D-Bus: {type(error).__name__}: {error}") from error
    with closing(connection):
        yield Bus(connection)
