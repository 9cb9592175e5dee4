"""The table of a run: one row per thing a person asks about, never more than twelve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sigprobe.record.profile import Grade, Profile, Word
from sigprobe.record.result import RUN_KIND, Network, Outcome, Result
from sigprobe.render import words
from sigprobe.render.view import RunView
from sigprobe.verdict import Reading, readings
from sigprobe.words.i18n import _, ngettext

MAX_ROWS: Final = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what, how much, how good. `mark` is a grade, `failed`, `skipped` or empty; `curve` may be empty."""

    label: str
    value: str = ""
    mark: str = ""
    word: str = ""
    curve: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = ()


def rows(view: RunView) -> list[Row]:
    """The table of a run, in the order of the config, at most `MAX_ROWS` rows; the last says what is left out."""
    checks = [r for r in view.results if r.kind != RUN_KIND]
    alike = Counter(r.kind for r in checks)
    table = [*_signal(view), *(row for r in checks for row in result_rows(r, view.profile, alone=alike[r.kind] == 1))]
    if len(table) > MAX_ROWS:
        table = _shortened(table)
    return table


def _shortened(table: Sequence[Row]) -> list[Row]:
    """Keep what a reader must not miss: what failed or is short first, then the others in their order."""
    urgent = {Word.BAD: 0, words.FAILED: 0, Word.POOR: 1, words.SKIPPED: 2}
    ranked = sorted(range(len(table)), key=lambda i: (urgent.get(table[i].mark, 3), i))
    kept = sorted(ranked[: MAX_ROWS - 1])
    rest = len(table) - len(kept)
    more = ngettext("and {n} more line", "and {n} more lines", rest).format(n=rest)
    return [*(table[i] for i in kept), Row(more, notes=("sigprobe results",))]


def result_rows(result: Result, profile: Profile | None, *, alone: bool = False) -> Iterator[Row]:
    """The rows of one result. `alone` leaves its name out where the label says enough."""
    label = _label(result, alone)
    if result.outcome in (Outcome.FAILED, Outcome.SKIPPED):
        mark = words.FAILED if result.outcome is Outcome.FAILED else words.SKIPPED
        code = words.screen_code(result.failure.code) if result.failure is not None else ""
        yield Row(label, "", mark, words.word(mark), _curve(result) if mark == words.FAILED else (), (code,))
        return
    found = {r.metric: r for r in readings(result, profile)}
    if result.kind == "ping":
        yield from _ping(result, found, label, alone)
    elif result.kind == "throughput":
        yield from _throughput(result, found, alone)
    elif result.kind == "web":
        yield _web(result, found.get("web_total_ms"), label)
    elif result.kind == "video":
        yield from _video(result, found, label, alone)
    elif result.failure is not None and result.failure.code == "tampered":
        # a false answer may come as fast as it likes
        yield Row(label, "", Word.BAD, _("false answer"), notes=_codes(result))
    else:
        reading = found.get("dns_ms") or found.get("http_total_ms")
        yield (
            _graded(label, reading, _codes(result))
            if reading
            else Row(label, "", Word.GOOD, _("answered"), notes=_codes(result))
        )


def _ping(result: Result, found: dict[str, Reading], label: str, alone: bool) -> Iterator[Row]:
    jitter = found.get("jitter_ms")
    notes = (_("jitter {value}").format(value=words.millis(jitter.value)),) if jitter else ()
    latency = found.get("latency_ms")
    yield _graded(label, latency, notes, _curve(result)) if latency else Row(label, "–", notes=_codes(result))
    loss = found.get("loss_ratio")
    if loss is not None and (alone or loss.value > 0):
        yield _graded(_named(_("Packet loss"), result, alone), loss, ())


def _throughput(result: Result, found: dict[str, Reading], alone: bool) -> Iterator[Row]:
    for metric, label in (("download_bps", _("Download")), ("upload_bps", _("Upload"))):
        reading = found.get(metric)
        if reading is not None:
            yield _graded(_named(label, result, alone), reading, ())
        elif result.outcome is Outcome.DEGRADED:
            yield Row(_named(label, result, alone), "–", words.FAILED, _("not measured"), notes=_codes(result))


def _web(result: Result, whole: Reading | None, label: str) -> Row:
    """The time of page and parts; what did not all come has none, and says so."""
    notes = _codes(result)
    parts, found = result.data.get("resources_fetched"), result.data.get("resources_found")
    if isinstance(parts, int) and isinstance(found, int):
        notes = (_("{n} of {total} parts").format(n=parts, total=found), *notes)
    first = result.data.get("first_byte_ms")
    if result.outcome is Outcome.DEGRADED:  # never a good word beside a page that lacks parts, however fast it came
        value = "–" if whole is None else words.millis(whole.value)
        return Row(label, value, words.FAILED, _("incomplete"), notes=notes)
    if whole is not None:
        return _graded(label, whole, notes)
    value = words.millis(first) if isinstance(first, int | float) else ""
    return Row(label, value, Word.GOOD, _("answered"), notes=notes)


def _video(result: Result, found: dict[str, Reading], label: str, alone: bool) -> Iterator[Row]:
    """When the video began to play, and how much of it stood still."""
    start, stalls = found.get("video_start_ms"), found.get("stall_ratio")
    rate = result.data.get("mean_bitrate_bps")
    notes = (words.quantity("mean_bitrate_bps", rate),) if isinstance(rate, int) else ()
    if start is None:
        yield Row(label, "–", words.FAILED, _("not played"), notes=_codes(result))
        return
    yield _graded(label, start, (*notes, *_codes(result)))
    if stalls is not None and (alone or stalls.value > 0):
        yield _graded(_named(_("Video stalls"), result, alone), stalls, ())


def _signal(view: RunView) -> Iterator[Row]:
    """The signal of the run, or else of the first result that knows it."""
    for network in (view.tags.network, *(r.tags.network for r in view.results)):
        found = strength(network)
        if found is not None:
            metric, value = found
            grade = view.profile.word(metric, value) if view.profile else None
            yield _row(_("Signal"), metric, value, grade)
            return


def strength(network: Network) -> tuple[str, float] | None:
    """The signal as a metric of the profile and its value; None where no modem told it."""
    if network.rsrp_dbm is not None:
        return "rsrp_dbm", network.rsrp_dbm
    if network.rssi_dbm is not None:
        return "rssi_dbm", network.rssi_dbm
    return None


def _graded(label: str, reading: Reading, notes: tuple[str, ...], curve: tuple[float | None, ...] = ()) -> Row:
    row = _row(label, reading.metric, reading.value, reading.grade, notes, curve)
    return replace(row, value=f"≥ {row.value}") if reading.at_least else row


def _row(
    label: str,
    metric: str,
    value: float,
    grade: Grade | None,
    notes: tuple[str, ...] = (),
    curve: tuple[float | None, ...] = (),
) -> Row:
    if grade is None:
        return Row(label, words.quantity(metric, value), curve=curve, notes=notes)
    if not grade.enough:
        notes = (_("(limit {value})").format(value=words.limit(metric, grade.threshold)), *notes)
    return Row(label, words.quantity(metric, value), grade.word, words.word(grade.word, metric), curve, notes)


def _label(result: Result, alone: bool) -> str:
    name = words.clean(result.target.name)
    if result.kind == "http":
        secure = (result.target.address or "").lower().startswith("https:")
        return f"{name} ({'HTTPS' if secure else 'HTTP'})"
    if result.kind == "path":
        return _("Way to the internet")  # every run has one; its name says nothing to a person
    titles = {
        "ping": _("Latency"),
        "dns": "DNS",
        "throughput": _("Speed"),
        "web": _("Whole page"),
        "video": _("Video start"),
    }
    title = titles.get(result.kind)
    return f"{name} ({words.clean(result.kind)})" if title is None else _named(title, result, alone)


def _named(title: str, result: Result, alone: bool) -> str:
    return title if alone else f"{title} {words.clean(result.target.name)}"


def _codes(result: Result) -> tuple[str, ...]:
    return () if result.failure is None else (words.screen_code(result.failure.code),)


def _curve(result: Result) -> tuple[float | None, ...]:
    times = result.data.get("rtts_ms")
    if not isinstance(times, list | tuple):
        return ()
    return tuple(float(t) if isinstance(t, int | float) and not isinstance(t, bool) else None for t in times)
