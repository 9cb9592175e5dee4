"""Store waiting batches together in shared transactions (group commit).

A commit costs a disk flush, and with a synchronous standby a round trip; a batch of eight results costs little beside
it. So a writer takes every waiting batch, up to a bound, and stores them together. There is no timer: while one group
commits, the next one gathers. Each caller gets its answer only after the COMMIT of its group.

A failed group is repeated one batch at a time, so a bad batch fails alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

Batch = TypeVar("Batch")
Answer = TypeVar("Answer")


class ClosedError(Exception):
    """The process is stopping; nothing of this batch was stored."""


@dataclass(slots=True)
class _Waiting(Generic[Batch, Answer]):
    batch: Batch
    size: int
    future: Future[Answer]


class GroupCommit(Generic[Batch, Answer]):
    """Pass batches to a few writer threads. `store` commits a group and answers each batch of it, in order.

    After a failed group `store` is called with single batches. Its exception then goes to that batch's caller.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Batch]], Sequence[Answer]],
        *,
        writers: int = 2,
        most_records: int = 5_000,
        alone: tuple[type[BaseException], ...] = (),
    ) -> None:
        """`alone`: failures of the database itself, after which trying each batch again would only take longer."""
        self._store = store
        self._most = most_records
        self._whole_group_fails = alone
        self._waiting: deque[_Waiting[Batch, Answer]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._write, name=f"group-commit-{number}", daemon=True)
            for number in range(writers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: Batch, size: int) -> Future[Answer]:
        """Queue a batch of `size` records. Its future ends after the commit, or with the error that kept it out."""
        future: Future[Answer] = Future()
        with self._changed:
            if self._closed:
                raise ClosedError
            self._waiting.append(_Waiting(batch, size, future))
            self._changed.notify()
        return future

    def depth(self) -> int:
        """Return how many batches wait for a writer."""
        return len(self._waiting)

    def close(self, timeout_s: float = 10.0) -> None:
        """Store what is waiting, then stop the writers."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout_s)
        while self._waiting:  # a writer that hangs in the database leaves these
            self._waiting.popleft().future.set_exception(ClosedError())

    def _take(self) -> list[_Waiting[Batch, Answer]]:
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._changed.wait()
            group = [self._waiting.popleft()]
            size = group[0].size
            while self._waiting and size + self._waiting[0].size <= self._most:
                size += self._waiting[0].size
                group.append(self._waiting.popleft())
        return [one for one in group if one.future.set_running_or_notify_cancel()]

    def _write(self) -> None:
        while True:
            group = self._take()
            if not group:
                with self._changed:
                    if self._closed and not self._waiting:
                        return
                continue
            try:
                answers = self._store([one.batch for one in group])
            except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the callers
                if len(group) == 1 or isinstance(error, self._whole_group_fails):
                    for one in group:
                        one.future.set_exception(error)
                else:
                    self._one_by_one(group)
            else:
                for one, answer in zip(group, answers, strict=True):
                    one.future.set_result(answer)

    def _one_by_one(self, group: Sequence[_Waiting[Batch, Answer]]) -> None:
        for one in group:
            try:
                (answer,) = self._store([one.batch])
            except BaseException as error:  # noqa: BLE001 - as above
                one.future.set_exception(error)
            else:
                one.future.set_result(answer)
