"""TLS settings of checks: verified always, with the cipher suites that browsers and curl offer.

Uploads use stricter settings of their own: a measurement has to reach what a browser reaches, a receipt does not.
"""

from __future__ import annotations

import errno
import ssl
from typing import Any, Final

from sigprobe.net.ca_files import load_ca

CIPHERS: Final = (
    "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:RSA+AESGCM:RSA+AES:DHE+AESGCM:DHE+AES"
    ":!aNULL:!eNULL:!aDSS:!PSK:!SRP:!AESCCM:@SECLEVEL=1"
)
"""For TLS 1.2; those of 1.3 are not chosen here. Static RSA and CBC are last in Python's own list or missing from it,
and all that some load balancers of public services have. DHE is last: old servers have keys of 1024 bits, which only
level 1 takes."""


class PipeLikeSocket(ssl.SSLSocket):
    """Fail a write on a closed connection as TCP does, so that the caller reads on.

    In TLS 1.3 a server refuses a client only after the handshake: its alert waits to be read behind the failed write.
    """

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Write all of `data`. Raises BrokenPipeError when the server has closed."""
        try:
            super().sendall(data, flags)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise BrokenPipeError(errno.EPIPE, "closed by the server") from error


def client_context(ca_file: str | None = None, *, verify: bool = True) -> ssl.SSLContext:
    """A client context of TLS 1.2 or newer that verifies chain and host, against `ca_file` or the public issuers.

    `verify=False` is for a look at a certificate that was refused; nothing read over it is trusted. Raises OSError
    when the file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)  # old load balancers lack RFC 5746
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if ca_file is None:
        import certifi

        context.load_verify_locations(cafile=certifi.where())
    else:
        load_ca(context, ca_file)
    return context
