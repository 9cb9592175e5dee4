"""`sigprobe agent`: run tests on a schedule and upload whenever there is a connection, until stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sigprobe.commands.support import draw, opening, options, sentences, terminal
from sigprobe.commands.support.command_result import CommandError, CommandResult
from sigprobe.commands.support.exit_codes import INTERRUPTED, SECOND_AGENT
from sigprobe.commands.support.signals import caught
from sigprobe.device.sd_notify import ALIVE, READY, STOPPING, notify, status
from sigprobe.runs.setup import backoff_of, read_collectors
from sigprobe.words.i18n import _, clock_text, ngettext, number

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.config import Loaded
    from sigprobe.net.connectivity import Watch
    from sigprobe.record.profile import Profile
    from sigprobe.runs.agent import Agent
    from sigprobe.upload import Report


@dataclass(frozen=True, slots=True)
class Stopped(CommandResult):
    """A stopped agent; its messages were printed while it ran."""

    code: int

    @property
    def exit_code(self) -> int:
        """Return 130 after Ctrl-C, 0 after SIGTERM."""
        return self.code


def agent(*, config: options.ConfigOption = None) -> CommandResult:
    import filelock

    from sigprobe.net.connectivity import Watch
    from sigprobe.runs import agent as loop

    loaded = opening.settings(config)
    profile = opening.load_profile(loaded)
    with opening.open_buffer(loaded, saves=True) as buffer, Watch() as watch:
        queue = buffer.configured_path
        alone = filelock.FileLock(loop.lock_file(queue), timeout=0, mode=0o660)
        try:
            alone.acquire()
        except filelock.Timeout:
            text = _("Another agent is already running on this queue ({path}). One is enough.").format(path=queue)
            raise CommandError(text, exit_code=SECOND_AGENT) from None
        try:
            with _signals(watch) as signals:
                _Work(loaded, profile, buffer, watch, signals, config).run()
        finally:
            notify(STOPPING)
            alone.release()
    return Stopped(INTERRUPTED if signals.by_hand else 0)


class _Signals:
    """The state that signals set: stop, reload, and whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.reload = threading.Event()
        self.by_hand = False

    def handle(self, number: int, _frame: object) -> None:
        """Store the signal. An Event is set by another thread: this one may be holding its lock right now."""
        wanted = self.stop
        if number == getattr(signal, "SIGHUP", None):
            wanted = self.reload
        else:
            self.by_hand = number == signal.SIGINT
            signal.signal(number, signal.SIG_DFL)  # the second time it is meant
        threading.Thread(target=wanted.set, daemon=True).start()


@contextmanager
def _signals(watch: Watch) -> Iterator[_Signals]:
    """Catch SIGTERM, SIGINT and SIGHUP, and let each end a wait."""
    signals = _Signals()
    with caught(signals.handle):
        fd = signal.set_wakeup_fd(watch.wake_fd, warn_on_full_buffer=False)
        try:
            yield signals
        finally:
            signal.set_wakeup_fd(fd)


class _Work:
    """The actions that the agent's loop calls, and their messages."""

    def __init__(
        self,
        loaded: Loaded,
        profile: Profile,
        buffer: Buffer,
        watch: Watch,
        signals: _Signals,
        config: Path | None,
    ) -> None:
        self._loaded = loaded
        self._profile = profile
        self._buffer = buffer
        self._watch = watch
        self._signals = signals
        self._config = config
        self._said: dict[str, object] = {}
        self._zone = _zone(loaded)
        self._agent: Agent | None = None
        self._unnoted = 0  # answers in a row that could not be noted
        self._rest_until = float("-inf")

    def run(self) -> None:
        """Run until a signal ends it."""
        from sigprobe.runs import agent as loop

        self._agent = loop.Agent(
            period_s=self._period_s(),
            probe_id=self._buffer.probe_id,
            run_test=self.test,
            send=self.send,
            wait=self._watch.wait,
            link_up=self.link_up,
            reload=self.reload,
            stop=self._signals.stop,
            reload_wanted=self._signals.reload,
            told=self.alive,
            last_run_at=loop.last_run(self._buffer.configured_path, self._buffer.boot_id),
        )
        every = self._loaded.config.schedule.every_min
        terminal.current().say(
            ngettext(
                "Agent is running: a test every {n} minute. Ctrl-C stops it.",
                "Agent is running: a test every {n} minutes. Ctrl-C stops it.",
                every,
            ).format(n=every)
        )
        self._say_environment()
        notify(READY, status(_("Starting")))
        self._agent.run()

    def _period_s(self) -> float:
        return self._loaded.config.schedule.every_min * 60.0

    def alive(self, next_in_s: float) -> None:
        """Report to the service manager that the loop runs, and when the next test is."""
        from sigprobe.runs import agent as loop

        assert self._agent is not None
        due = self._agent.next_run_at
        if self._said.get("due") == due:
            notify(ALIVE)
            return
        self._said["due"] = due
        loop.note_runs(self._buffer.configured_path, self._buffer.boot_id, self._agent.last_run_at, next_in_s)
        when = datetime.now().astimezone() + timedelta(seconds=next_in_s)
        text = _("Next test at {time}").format(time=clock_text(when, self._zone, with_date=False))
        notify(ALIVE, status(text))

    # --- actions --------------------------------------------------------------------------------------------

    def test(self) -> None:
        """One session, as `sigprobe test` runs it."""
        from sigprobe.buffer import StorageError
        from sigprobe.runs import runner as rounds
        from sigprobe.runs.session import Hooks

        notify(ALIVE, status(_("Testing")))
        senders, _trouble, _env = read_collectors(self._loaded)
        hooks = Hooks(stored=lambda _saved: _tell_alive(), waiting_for_place=lambda _seconds: _tell_alive())
        try:
            wish = rounds.Wish(scheduled=True, next_in_s=self._next_in_s())
            plan = rounds.make_plan(self._loaded, self._buffer, senders, self._profile, wish)
            report = rounds.measure(self._loaded, plan, self._buffer, hooks, stop=self._signals.stop)
            self._buffer.prune()
        except StorageError as error:
            sentences.say_code(error.code, str(error))
            return
        if report.storage_error is not None:
            sentences.say_code(report.storage_error.code, str(report.storage_error))
        elif report.saved:
            self._rest_until = float("-inf")  # what could keep these results can keep an answer, too
        text = ngettext("Tested: {n} result stored.", "Tested: {n} results stored.", report.saved)
        terminal.current().say(text.format(n=number(report.saved)))

    def _next_in_s(self) -> float | None:
        """Return the seconds until the test after this one, if that lies ahead."""
        from sigprobe.runs import agent as loop

        left = 0.0 if self._agent is None else self._agent.next_run_at - loop.device_clock()
        return left if left > 1.0 else None

    def send(self, give_way_s: float) -> float:
        """Send what is pending until the next test is due; the seconds until the next try."""
        from sigprobe.buffer import StorageError, UnnotedError
        from sigprobe.runs import agent as loop
        from sigprobe.runs import runner as rounds
        from sigprobe.upload import jitter
        from sigprobe.upload.backoff import span_s

        if (left := self._rest_until - loop.device_clock()) > 0.0:
            return left
        try:
            if not self._loaded.config.upload.collectors or not self._buffer.pending():
                return loop.LOOK_S
            senders, trouble, _env = read_collectors(self._loaded)
            self._once("tokens", [f"{t.url}: {sentences.token_sentence(t.reason, t.path)}" for t in trouble])
            if not senders:
                return loop.LOOK_S
            report = rounds.send(
                self._buffer,
                senders,
                give_way_s=give_way_s,
                progress=lambda _report: _tell_alive(),
                stop=self._signals.stop,
            )
        except UnnotedError as error:
            if not self._unnoted:
                sentences.say_code(error.code, str(error))
            self._unnoted += 1
            # kept here as well: where there is no room, the memory beside the queue cannot be written either
            rest = max(loop.LOOK_S, span_s(self._unnoted))
            self._rest_until = loop.device_clock() + rest
            return rest
        except StorageError as error:
            sentences.say_code(error.code, str(error))
            return loop.LOOK_S
        if report.batches:
            self._unnoted = 0
        self._say(report)
        if report.stopped is None:
            return loop.LOOK_S
        if report.stopped == "interrupted":
            return 0.0  # it gave way to a test: go on behind it
        memory = backoff_of(self._buffer.configured_path)
        urls = [c.url for c in senders if not memory.is_refused(c.url, c.token)]
        if not urls:
            return loop.LOOK_S  # until then the token may have been changed
        return max(1.0, jitter.next_try_s(memory, urls, self._buffer.probe_id, link_up=bool(self._watch.ways)))

    def link_up(self) -> None:
        """A connection appeared: retry failed uploads at once."""
        urls = [entry.url for entry in self._loaded.config.upload.collectors]
        backoff_of(self._buffer.configured_path).link_came_up(urls)

    def reload(self) -> float:
        """Reload the settings; report mistakes and keep the old settings then. Returns the period in seconds."""
        from sigprobe.config import ConfigError, load, report
        from sigprobe.record.profile import ProfileError
        from sigprobe.record.profile import load as load_profile
        from sigprobe.runs.setup import queue_path

        out = terminal.current()
        try:
            loaded = load(self._config)
            profile = load_profile(loaded.config.profile, opening.profile_dirs(loaded))
        except ConfigError as error:
            out.error(report(error))
        except ProfileError as error:
            from sigprobe.render.words import fill

            out.error(fill(_(error.message), error.values))
        else:
            if queue_path(loaded) != self._buffer.configured_path:
                out.error(_("buffer.path cannot change while the agent is running; restart it for that."))
            self._loaded, self._profile, self._zone = loaded, profile, _zone(loaded)
            self._said.pop("due", None)
            out.say(_("Settings reloaded."))
            self._say_environment()
            return self._period_s()
        out.error(_("The agent keeps its previous settings."))
        return self._period_s()

    # --- messages, once for each change ---------------------------------------------------------------------

    def _once(self, topic: str, lines: list[str]) -> None:
        if self._said.get(topic) != lines:
            self._said[topic] = lines
            for line in lines:
                terminal.current().error(line)

    def _say_environment(self) -> None:
        from sigprobe.runs.setup import read_collectors

        _senders, _trouble, from_environment = read_collectors(self._loaded)
        self._once("environment", [sentences.token_in_environment()] if from_environment else [])

    def _say(self, report: Report) -> None:
        out = terminal.current()
        if report.sent or report.rejected:
            text = ngettext("{n} result sent, {pending} waiting.", "{n} results sent, {pending} waiting.", report.sent)
            out.say(text.format(n=number(report.sent), pending=number(report.pending)))
        if report.rejected:
            sentences.say_code("set_aside", None)
        if report.sent or report.rejected or self._said.get("unchecked") != report.time_unchecked:
            self._said["unchecked"] = list(report.time_unchecked)
            for note in sentences.unchecked_dates(report):
                draw.message(note)
        if self._said.get("refused") != report.refused:
            self._said["refused"] = list(report.refused)
            for url in report.refused:
                terminal.current().error(f"{url}: {sentences.code_text('collector_token')}")
        code = None if report.stopped in ("interrupted", "collector_token") else report.stopped
        if code is not None and self._said.get("stopped") != code:
            sentences.say_code(code, report.detail)
        self._said["stopped"] = code
        if "clock" not in self._said and report.clock_offset_ms is not None:
            from sigprobe.runs.clock import clock_is_wrong

            if clock_is_wrong(report):
                self._said["clock"] = True
                for note in sentences.wrong_clock(report):
                    draw.message(note)


def _tell_alive() -> None:
    notify(ALIVE)


def _zone(loaded: Loaded) -> str:
    from sigprobe import places

    return places.zone(loaded.config.probe.tps_id)
