"""Batches of prepared images, read ahead of whoever computes with them.

What is read is asked for by requests: images by their indices, and where each one's crop lies. So the bytes depend on
nothing else, neither on threads nor on what came before, and a pass may begin at any batch. Pixels stay uint8; what is
done with them is for the device that computes.

Threads do the work, since what cuts and what decodes let others run meanwhile. Each fills one batch at a time, in
memory that is used again; batches come in the order of the requests.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alexnet.data.reading import IN_FLIGHT, Reader, Source, open_source
from alexnet.data.reading import Request as Request
from alexnet.data.shards import PreparedSplit

SPARE_SLOTS = 2  # beside those being filled: one with whoever computes, one ready for it
AHEAD_BATCHES, AHEAD_BYTES = (
    8,
    1 << 26,
)  # at most so many are announced beyond the batches that are being filled


class Loader:
    """Batches of a split in the order of the requests, once through: an iterator, and a context that ends its threads.

    Yields each request with its pixels (n, side, side, 3) uint8 on the device; they hold until the next is asked for.
    `waited` is how many seconds its user has waited for them so far. An error of a reader, or of whoever makes the
    requests, is raised in its place among the batches.
    """

    def __init__(
        self, split: PreparedSplit, requests: Iterable[Request], side: int, *, readers: int, device: torch.device,
        is_cached: bool | None = None,
    ) -> None:  # fmt: skip
        """Side: of the crops, or of the images where they are read whole.

        readers: threads that compute ahead; with 0 each batch is read in its turn. is_cached: whether to read by way
        of the page cache, which pays where others read the same; None decides by the memory there is.
        """
        self.waited = 0.0
        self._device = device
        source = open_source(split, side, max(1, readers), is_cached=is_cached)
        count = readers if source.is_cached or not readers else max(readers, IN_FLIGHT)
        self._line = _Line(source, iter(requests), count, device)
        threads = [
            threading.Thread(target=self._line.work, name=f"reader {number}", daemon=True)
            for number in range(count)
        ]
        self._worker = None if readers else _Worker(self._line)
        self._slot: _Slot | None = None
        self._end = weakref.finalize(self, _end, self._line, threads)
        for thread in threads:
            thread.start()

    @property
    def most_ahead(self) -> int:
        """How many batches at most have been begun or announced beyond the last that was taken."""
        return self._line.slots + AHEAD_BATCHES

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads, once each has left what it is reading."""
        self._end()

    def __iter__(self) -> Iterator[tuple[Request, Tensor]]:
        return self

    def __next__(self) -> tuple[Request, Tensor]:
        begun = time.perf_counter()
        try:
            self._line.give_back(self._slot)
            self._slot = None
            if self._worker:
                self._worker.do_next()
            done = self._line.take()
            self._slot = done.slot if done else None
        except BaseException:
            self.close()
            raise
        finally:
            self.waited += time.perf_counter() - begun
        if done is None:
            self.close()
            raise StopIteration
        assert done.pixels is not None
        if self._device.type == "cuda":
            # Its memory is another stream's: to be used again only after what this one does with it.
            done.pixels.record_stream(torch.cuda.current_stream(self._device))
        return done.request, done.pixels


def _end(line: _Line, threads: list[threading.Thread]) -> None:
    line.close()
    if threading.current_thread() not in threads:  # a garbage collection may come in any thread
        for thread in threads:
            thread.join()


class _Slot:
    """Memory for a batch, used again and again; pinned where it is copied to a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._is_pinned = device.type == "cuda"
        self._pixels = torch.empty(0, dtype=torch.uint8)

    def fit(self, count: int, side: int) -> Tensor:
        """Room for images (count, side, side, 3)."""
        wanted = (count, side, side, 3)
        if self._pixels.numel() < count * side * side * 3:
            if self._is_pinned:
                self._pixels = torch.empty(wanted, dtype=torch.uint8, pin_memory=True)
            else:  # in huge pages, where NumPy knows them
                self._pixels = torch.from_numpy(np.empty(wanted, np.uint8))
        return self._pixels.view(-1)[: count * side * side * 3].view(wanted)


@dataclass
class _Task:
    """A request with its place in the order; slot and pixels once it is under way and done."""

    number: int
    request: Request
    slot: _Slot | None = None
    pixels: Tensor | None = None
    is_announced: bool = False


class _Line:
    """What readers and their user share: requests that come, tasks that are done, and slots that are free."""

    def __init__(
        self, source: Source, requests: Iterator[Request], threads: int, device: torch.device
    ) -> None:
        self.source, self.device = source, device
        self._requests = requests
        self._condition = threading.Condition()
        self.slots = threads + SPARE_SLOTS if threads else 1
        self._free = [_Slot(device) for _ in range(self.slots)]
        self._done: dict[int, _Task | BaseException] = {}
        self._turn = threading.Lock()  # of who takes the next request
        self._coming: deque[_Task] = deque()
        self._failure: BaseException | None = None  # of whoever makes the requests
        self._is_exhausted = False
        self._asked = self._began = self._taken = 0
        self._total: int | None = None
        self._is_closed = False
        self._breakdown: BaseException | None = None  # of a thread, with no batch to blame

    def work(self) -> None:
        """What a thread does: fills one batch after the other until there are no more."""
        try:
            worker = _Worker(self)
            while worker.do_next():
                pass
        except BaseException as error:
            with self._condition:
                self._breakdown = error
                self._condition.notify_all()

    def begin(self, reader: Reader) -> _Task | None:
        """The next task, with room for it; waits for room. None if there are no more. reader: the caller's."""
        with self._turn:
            with self._condition:
                self._condition.wait_for(lambda: self._free or self._is_closed)
                if self._is_closed or self._total is not None:
                    return None
            self._look_ahead(reader)
            with self._condition:
                number, self._began = self._began, self._began + 1
                if self._coming:
                    task = self._coming.popleft()
                    task.slot = self._free.pop()
                    return task
                if self._failure is not None:
                    self._done[number] = self._failure
                self._total = number + (self._failure is not None)
                self._condition.notify_all()
                return None

    def _look_ahead(self, reader: Reader) -> None:
        """Makes the requests of the next batches, and announces their images if they are likely to be on the disk."""
        while not self._is_exhausted and self._wants_more():
            try:
                request = next(self._requests)
                self.source.split.locate(request.indices)  # raises IndexError
                self._coming.append(_Task(self._asked, request))
                self._asked += 1
            except StopIteration:
                self._is_exhausted = True
            except BaseException as error:
                self._is_exhausted, self._failure = True, error
        for task in self._coming if self.source.is_cold else ():
            if not task.is_announced:
                reader.announce(task.request)
                task.is_announced = True

    def _wants_more(self) -> bool:
        """Whether so little comes next that a further request is to be made."""
        if not self._coming:
            return True
        wanted = sum(self.source.count_bytes(task.request) for task in self._coming)
        return len(self._coming) < AHEAD_BATCHES and wanted < AHEAD_BYTES

    def finish(self, task: _Task, error: BaseException | None = None) -> None:
        """Hands in a task that is done, or the error that ended it."""
        with self._condition:
            self._done[task.number] = error or task
            self._condition.notify_all()

    def give_back(self, slot: _Slot | None) -> None:
        """Frees a slot, if there is one."""
        if slot is not None:
            with self._condition:
                self._free.append(slot)
                self._condition.notify_all()

    def take(self) -> _Task | None:
        """The next task in order once it is done, None after the last; raises its error."""
        with self._condition:
            self._condition.wait_for(
                lambda: (
                    self._taken in self._done
                    or self._taken == self._total
                    or self._is_closed
                    or self._breakdown is not None
                )
            )
            if self._is_closed:  # what is still being read may not be whole
                return None
            if self._taken not in self._done:
                if self._breakdown is not None:
                    raise self._breakdown
                return None
            done = self._done.pop(self._taken)
            self._taken += 1
        if isinstance(done, BaseException):
            raise done
        return done

    def close(self) -> None:
        """Lets whoever waits go."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether what is still being read is wanted no more."""
        return self._is_closed


class _Worker:
    """What one thread does, with a reader and a stream to the GPU of its own."""

    def __init__(self, line: _Line) -> None:
        self._line, self._reader = line, line.source.reader()
        self._stream: torch.cuda.Stream | None = None

    def do_next(self) -> bool:
        """Does the next task; False if there are no more."""
        task = self._line.begin(self._reader)
        if task is None:
            return False
        try:
            task.pixels = self._fill(task)
        except BaseException as error:
            self._line.finish(task, error)
            return False
        self._line.finish(task)
        return True

    def _fill(self, task: _Task) -> Tensor:
        assert task.slot is not None
        device = self._line.device
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            pixels = task.slot.fit(len(task.request.indices), self._line.source.side)
            for _ in self._reader.read(task.request, pixels.numpy()):
                if self._line.is_closed:
                    break
            return self._send(pixels, device)

    def _send(self, pixels: Tensor, device: torch.device) -> Tensor:
        """The pixels on the device, once they are there."""
        if device.type != "cuda":
            return pixels
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            moved = pixels.to(device, non_blocking=True)
        self._stream.synchronize()
        return moved
