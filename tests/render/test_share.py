"""The WhatsApp text of a run: short, readable, and made from what was stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sigprobe.record.read_record import read_result
from sigprobe.record.result import Result
from sigprobe.render.share import MOST, share_text, whatsapp_link
from sigprobe.render.stored_run import view_of
from sigprobe.words.codes import CODES
from tests.render.samples import NEED, TAGS, dns, ping, result, speed, view, web

Speak = Callable[[str], None]

ALL = [ping(), dns(), web(), speed()]


def test_the_message_says_the_verdict_first_in_both_languages(speak: Speak) -> None:
    """Who, where, when and the verdict in bold stand above the numbers; no coordinates are given away."""
    speak("id")
    text = share_text(view(ALL, place="Kota Bandung"))
    lines = text.splitlines()
    assert lines[0] == "*TPS 3273011001005*"
    assert lines[1].startswith("Kota Bandung · Telkomsel")
    assert lines[2] == "*INTERNET LAMBAT SAAT MENGUNGGAH*"
    assert "Unggah: 1,1 Mbps (kurang)" in text
    assert "6,91" not in text and "107" not in text
    speak("en")
    assert "Upload: 1.1 Mbps" in share_text(view(ALL))


def test_a_failure_stands_in_the_message_with_its_code(speak: Speak) -> None:
    """What failed is told in a sentence that the centre can look up."""
    speak("id")
    text = share_text(view([ping(), result("http", "sirekap", code="refused")]))
    assert "[SP-TGT-02]" in text


def test_the_link_carries_the_message_whole(speak: Speak) -> None:
    """Opening the link gives back every character, line ends and symbols too."""
    speak("id")
    text = share_text(view(ALL))
    parts = urlsplit(whatsapp_link(text))
    assert (parts.scheme, parts.hostname, parse_qs(parts.query)["text"]) == ("https", "wa.me", [text])


@pytest.mark.parametrize("language", ["id", "en"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.text(min_size=1, max_size=64), min_size=0, max_size=40, unique=True),
    code=st.sampled_from(sorted(CODES)),
    place=st.text(max_size=300),
)
def test_it_is_never_too_long(speak: Speak, language: str, names: list[str], code: str, place: str) -> None:
    """Under 700 characters and one bold head, whatever the names are and however much failed."""
    speak(language)
    results = [result("http", name, code=code) for name in names] + ALL
    text = share_text(view(results, place=place))
    assert len(text) <= MOST
    assert text.splitlines()[0].startswith("*TPS")
    assert text.count("*") == 4


def test_a_stored_record_comes_back_as_it_was() -> None:
    """Reading a stored line and writing it again gives the same bytes."""
    for one in [*ALL, result("dns", "x", code="timeout")]:
        stored = placed(one)
        assert read_result(json.loads(stored.to_line())).to_line() == stored.to_line()


def placed(one: Result) -> Result:
    uuid = "0193b3a0-0000-7000-8000-000000000001"
    return replace(one.placed(probe_id=uuid, stream_id=uuid, seq=1, boot_id=None), id=uuid, run_id=uuid)


def test_a_run_is_remade_from_its_records() -> None:
    """The view made of stored records has the run's order, verdict and data, and a cut-off run claims nothing."""
    checks = [placed(speed()), placed(ping())]
    run = replace(
        placed(result("run", "run")),
        data={
            "verdict": {"owner": "service", "cause": "targets_failed", "confidence": 0.8, "evidence": []},
            "data_used_bytes": 1234,
            "plan": [{"name": "gateway", "kind": "ping"}, {"name": "center", "kind": "throughput"}],
        },
        tags=TAGS,
    )
    records = [json.loads(one.to_line()) for one in (*checks, run)]
    made = view_of(records, NEED)
    assert [r.target.name for r in made.results] == ["gateway", "center"]
    assert (made.verdict.owner, made.data_used_bytes) == ("service", 1234)
    assert view_of(records[:-1], NEED).verdict.owner == "uncertain"
    with pytest.raises(ValueError, match="no records"):
        view_of([], NEED)


def test_a_failed_check_is_told_in_words(speak: Speak) -> None:
    """A check without a number has its word without brackets, and its cause in a sentence."""
    speak("en")
    text = share_text(view([result("dns", "kpu", "kpu.go.id", "name_not_found"), ping()]))
    assert "DNS: failed\n" in text and "(failed)" not in text
    assert "The address of kpu was not found" in text


def test_a_service_code_keeps_its_star() -> None:
    """*888# without its star cannot be dialled; a plain star would begin a bold part."""
    from sigprobe.render.share import _plain

    assert _plain("cek kuota (*888#, *123*7#) *tebal*") == "cek kuota (∗888#, ∗123∗7#) tebal"
