"""Work spread over processes: results in order, errors carried over, nobody left behind."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

from alexnet.errors import UserError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Failed:
    """What a UserError said; the exception itself does not survive the way out of a process."""

    where: str
    what: str
    found: object
    expected: object
    fix: str


def map_in_processes(function: Callable[[T], R], tasks: Iterable[T], workers: int, what: str) -> Iterator[R]:
    """Results of a function, in the order of the tasks, made by as many processes as there are workers.

    function: of a module, so that it can be named to a process that has not imported it. tasks: taken as they are
    needed, at most two for each worker under way, so that their list may be long. One worker, or one task, is for this
    process itself. what: the work, for messages. Raises what the function raises, and UserError if a process dies.
    """
    tasks = iter(tasks)
    first = list(itertools.islice(tasks, 2))
    tasks = itertools.chain(first, tasks)
    if workers == 1 or len(first) < 2:
        yield from map(function, tasks)
        return
    # A fresh process for each worker: forked ones would inherit threads, locks and memory.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        try:
            yield from _map(pool, function, tasks, 2 * workers)
        except BrokenProcessPool:
            raise UserError(
                what, "a worker process died, perhaps for lack of memory", found=f"{workers} workers",
                fix="Set fewer workers in machine.yaml.",
            ) from None  # fmt: skip
        finally:
            pool.shutdown(cancel_futures=True)  # after an error what is under way is of no use


def _map(
    pool: ProcessPoolExecutor, function: Callable[[T], R], tasks: Iterable[T], ahead: int
) -> Iterator[R]:
    waiting: deque[Future[R | Failed]] = deque()
    for task in itertools.chain(((task,) for task in tasks), itertools.repeat((), ahead)):
        if task:
            waiting.append(pool.submit(_call, function, task[0]))
        if waiting and (not task or len(waiting) >= ahead):
            result = waiting.popleft().result()
            if isinstance(result, Failed):
                raise UserError(
                    result.where, result.what, found=result.found, expected=result.expected, fix=result.fix
                )
            yield result


def _call(function: Callable[[T], R], task: T) -> R | Failed:
    try:
        return function(task)
    except UserError as error:
        return Failed(error.where, error.what, error.found, error.expected, error.fix)


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, which a killed one cannot ask for any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
