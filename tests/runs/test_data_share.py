"""A day's data lasts the whole day: scheduled runs leave large checks out while their share is used up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sigprobe import cli
from sigprobe.config import parse
from sigprobe.config.new import Answers, render
from sigprobe.net.limits import DataBudget
from sigprobe.runs.data_budget import MB, OVERHEAD, Limits, day_of, day_share, is_due, on_the_wire, payload_of, plan_day
from sigprobe.runs.session import RunPlan, Session

MIDNIGHT = datetime.now().astimezone().replace(month=11, day=1, hour=0, minute=0, second=0, microsecond=0)
DEFAULTS = Limits(40, 400, 4000)


def _used(day_bytes: int, month_bytes: int) -> object:
    return lambda prefix, _interface: day_bytes if len(prefix) == 10 else month_bytes


def test_a_month_is_shared_out_over_its_days() -> None:
    share = day_share(MIDNIGHT, _used(0, 0), [(DEFAULTS, None)])  # type: ignore[arg-type]
    assert share == 4000 * MB // 30
    last = MIDNIGHT.replace(day=30)
    assert day_share(last, _used(0, 3900 * MB), [(DEFAULTS, None)]) == 100 * MB  # type: ignore[arg-type]
    assert day_share(last, _used(0, 0), [(DEFAULTS, None)]) == 400 * MB  # type: ignore[arg-type]
    assert day_share(last, _used(0, 0), [(Limits(), None)]) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("every_min", [5, 15, 60])
def test_the_default_budget_lasts_the_day(every_min: int) -> None:
    """30 MB in every run would be gone after 4 runs; with the share the last large check is in the evening."""
    used, last, large = 0, MIDNIGHT, 0
    now = MIDNIGHT
    while now < MIDNIGHT + timedelta(days=1):
        used += 50_000
        if is_due(4000 * MB // 30, used, now):
            used += on_the_wire(30 * MB)
            last, large = now, large + 1
        now += timedelta(minutes=every_min)
    assert used <= 4000 * MB // 30 + on_the_wire(30 * MB)
    assert large >= 3
    assert last.hour >= 12


def test_without_the_share_it_does_not() -> None:
    """The control: the same day, with a large check whenever the day's limit allows one."""
    used, now = 0, MIDNIGHT
    while used + on_the_wire(30 * MB) <= 4000 * MB // 30:
        used += on_the_wire(30 * MB)
        now += timedelta(minutes=15)
    assert now - MIDNIGHT <= timedelta(hours=3)


def test_what_is_promised_and_what_is_counted_are_one_measure() -> None:
    """A limit is bytes on the interface: the payload that may be moved leaves room for headers."""
    for limit in (1_000, 40 * MB, 10**9):
        payload = payload_of(limit)
        assert payload is not None and payload < limit
        assert on_the_wire(payload) <= limit
    assert payload_of(None) is None
    # 1448 bytes of payload in a frame of 1514, and an acknowledgement of 66 for every second one
    assert OVERHEAD > (1514 + 33) / 1448


def test_a_session_spends_no_more_payload_than_fits(tmp_path: Path) -> None:
    plan = RunPlan((), None, "x", None, None, None, max_bytes=40 * MB)
    session = Session(plan, None, None)  # type: ignore[arg-type]
    budget: DataBudget = session._budget
    assert budget.limit_bytes == payload_of(40 * MB)


@pytest.mark.parametrize(
    ("every_min", "checks", "day", "large_per_day"),
    [(15, (30 * MB, 50_000), 133 * MB, 4), (15, (50_000,), 133 * MB, None), (1440, (30 * MB,), 133 * MB, None),
     (15, (30 * MB,), 20 * MB, 0), (15, (30 * MB,), None, None)],
)  # fmt: skip
def test_the_plan_tells_how_often_large_checks_fit(
    every_min: int, checks: tuple[int, ...], day: int | None, large_per_day: int | None
) -> None:
    plan = plan_day(every_min, checks, day)
    assert plan.large_per_day == large_per_day
    assert plan.runs_per_day == 1440 // every_min
    if day is not None:
        assert plan.day_bytes is not None and plan.day_bytes <= day


@pytest.mark.parametrize(("lang", "words"), [("en", "times a day"), ("id", "kali sehari")])
def test_schedule_tells_the_cost_of_a_day(
    lang: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = Answers(tps_id="3273011001005", collector="https://collector.example/")
    text = render(answers) + f"buffer: {{path: {tmp_path}/q/b.db}}\n"
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    assert parse(text.encode(), path, {}).config.data_budget.per_day_mb == 400
    cli.run(["--lang", lang, "schedule", "show", "--config", str(path)])
    said = capsys.readouterr()
    assert "96" in said.out and "133" in said.out and "center" in said.out and words in said.out


def test_a_scheduled_run_leaves_the_large_check_for_later(tmp_path: Path) -> None:
    from sigprobe.buffer import Buffer
    from sigprobe.record.profile import load
    from sigprobe.runs.runner import Wish, make_plan

    answers = Answers(tps_id="3273011001005", collector="https://collector.example/")
    loaded = parse(render(answers).encode(), tmp_path / "c.yaml", {})
    with Buffer(tmp_path / "b.db") as buffer:
        buffer.add_usage(day_of(datetime.now(UTC)), "", 399 * MB)
        scheduled = make_plan(loaded, buffer, [], load(loaded.config.profile, ()), Wish(scheduled=True))
        typed = make_plan(loaded, buffer, [], load(loaded.config.profile, ()), Wish())
    assert "center" not in [target.name for target in scheduled.targets]
    assert scheduled.note["left_for_later"] == ["center"]
    assert "center" in [target.name for target in typed.targets] and "left_for_later" not in typed.note


def test_a_scheduled_run_says_when_the_next_one_is(tmp_path: Path) -> None:
    """The exact time where it is known, else the period; a run started by hand promises nothing."""
    from sigprobe.buffer import Buffer
    from sigprobe.record.profile import load
    from sigprobe.runs.runner import Wish, make_plan

    text = render(Answers(tps_id="3273011001005", collector="https://collector.example/"))
    loaded = parse(f"{text}schedule: {{every_min: 20}}\n".encode(), tmp_path / "c.yaml", {})
    profile = load(loaded.config.profile, ())
    with Buffer(tmp_path / "b.db") as buffer:
        notes = [
            make_plan(loaded, buffer, [], profile, wish).note
            for wish in (Wish(scheduled=True), Wish(scheduled=True, next_in_s=1130.4), Wish())
        ]
    assert [note.get("next_contact_s") for note in notes] == [1200, 1130, None]
