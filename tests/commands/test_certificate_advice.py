"""What helps against a certificate that cannot be verified depends on what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigprobe.render import words
from sigprobe.render.screen import summary
from sigprobe.render.view import UploadLine
from sigprobe.words.i18n import speaking
from tests.commands.conftest import PING, Settings
from tests.render.samples import ping, view
from tests.support.running_site import Run

CLOCK = {"id": "tanggal dan jam", "en": "date and time"}


@pytest.mark.parametrize("language", ["id", "en"])
@pytest.mark.parametrize(
    ("why", "clock", "named"),
    [
        ("tls_untrusted", False, "ca_file"),
        ("ca_file_unusable", False, "ca_file"),
        ("tls_hostname", False, None),
        ("tls_not_spoken", False, "port"),
        ("tls_refused", False, None),
        ("tls_expired", True, None),
        ("tls_not_yet_valid", True, None),
        (None, True, "ca_file"),
    ],
)
def test_only_a_date_leads_to_the_clock(why: str | None, clock: bool, named: str | None, language: str) -> None:
    """A private CA is a matter of ca_file, and another host's certificate one of the address."""
    with speaking(language):
        advice = words.upload_advice("collector_tls", why)
        screen = " ".join(summary(view([ping()], upload=UploadLine("tls", 2, why=why, whom="c.example"))).split())
    assert (CLOCK[language] in advice) == clock and (named is None or named in advice)
    assert advice in screen and "[SP-SYN-05]" in screen
    assert ("c.example" in screen) == (why is not None and why != "ca_file_unusable")


@pytest.mark.parametrize("content", [None, "no certificate at all"])
def test_a_ca_file_that_cannot_be_used(content: str | None, settings: Settings, tmp_path: Path, sigprobe: Run) -> None:
    """A missing file, or one without a certificate, is named as the cause by `test` and by `upload`."""
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("a-token-of-the-test")
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    where = {"url": "https://127.0.0.1:9/", "token_file": str(tmp_path / "token"), "ca_file": str(ca_file)}
    config = str(settings(PING, upload={"collectors": [where]}))
    tested = sigprobe("test", "--only", "device", "--lang", "en", "--config", config)
    sent = sigprobe("upload", "--lang", "en", "--config", config)
    assert (tested.returncode, sent.returncode) == (0, 4)
    for text in (tested.stdout, sent.stdout + sent.stderr):
        flat = " ".join(text.split())
        assert "The file that ca_file names cannot be used as a CA. " in flat and "Correct ca_file" in flat, text
        assert "date and time" not in flat
