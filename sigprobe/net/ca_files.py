"""Load the CA file of a private collector as administrators save it: PEM in any text encoding, or DER."""

from __future__ import annotations

import codecs
import ssl
from pathlib import Path
from typing import Final

from sigprobe.record.text_encoding import decode

_MAX_BYTES: Final = 4_000_000
_DER_SEQUENCE: Final = b"\x30"
_MARKS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def load_ca(context: ssl.SSLContext, ca_file: str) -> None:
    """Trust the certificates of a file in this context. Raises OSError (also for a file without a certificate).

    OpenSSL reads neither UTF-16 nor DER, and some versions overlook a certificate behind a byte-order mark.
    """
    with Path(ca_file).open("rb") as file:
        raw = file.read(_MAX_BYTES)
    if raw.startswith(_DER_SEQUENCE) and b"-----BEGIN" not in raw:
        context.load_verify_locations(cadata=raw)
    elif raw.startswith(_MARKS) or b"\0" in raw[:64]:
        try:
            text = decode(raw)
        except UnicodeDecodeError:
            raise ssl.SSLError("this file is not text") from None
        context.load_verify_locations(cadata=text.encode("ascii", errors="replace").decode("ascii"))
    else:
        context.load_verify_locations(cafile=ca_file)
