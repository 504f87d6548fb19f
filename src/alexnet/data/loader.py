"""Batches of prepared images, read ahead of whoever computes with them.

What is read is asked for by requests: images by their indices, and where each one's crop lies. So the bytes depend on
nothing else, neither on threads nor on what came before, and a pass may begin at any batch. Pixels stay uint8; what is
done with them is for the device that computes.

Threads do the work, since what cuts and what decodes let others run meanwhile. They share a batch piece by piece, so
that few batches lie in memory, which is used again while the caches still know it. Batches come in the order of the
requests.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alexnet.data.reading import IN_FLIGHT, Plan, Reader, Source, open_source
from alexnet.data.reading import Request as Request
from alexnet.data.shards import PreparedSplit

# At most so many are announced beyond the batches that are being read.
AHEAD_BATCHES = 8
AHEAD_BYTES = 1 << 26


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
        self._held: _Batch | None = None
        self._end = weakref.finalize(self, _end, self._line, threads)
        for thread in threads:
            thread.start()

    @property
    def most_ahead(self) -> int:
        """How many batches at most have been begun or announced beyond the last that was taken."""
        return self._line.most_slots + AHEAD_BATCHES

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
            self._line.give_back(self._held)
            if self._worker:
                self._worker.fill_next()
            batch = self._held = self._line.take()
        except BaseException:
            self.close()
            raise
        finally:
            self.waited += time.perf_counter() - begun
        if batch is None:
            self.close()
            raise StopIteration
        assert batch.on_device is not None
        if self._device.type == "cuda":
            # Its memory is another stream's: to be used again only after what this one does with it.
            batch.on_device.record_stream(torch.cuda.current_stream(self._device))
        return batch.plan.request, batch.on_device


def _end(line: _Line, threads: list[threading.Thread]) -> None:
    line.close()
    if threading.current_thread() not in threads:  # a garbage collection may come in any thread
        for thread in threads:
            thread.join()


class _Slot:
    """Memory for a batch, used again and again; pinned where it is copied to a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pixels = torch.empty(0, dtype=torch.uint8)

    def fit(self, count: int, side: int) -> Tensor:
        """Room for images (count, side, side, 3)."""
        wanted = (count, side, side, 3)
        if self._pixels.numel() < count * side * side * 3:
            if self._device.type == "cuda":
                with torch.cuda.device(self._device):
                    self._pixels = torch.empty(wanted, dtype=torch.uint8, pin_memory=True)
            else:  # in huge pages, where NumPy knows them
                self._pixels = torch.from_numpy(np.empty(wanted, np.uint8))
        return self._pixels.view(-1)[: count * side * side * 3].view(wanted)


@dataclass
class _Batch:
    """What a request asks for, on its way."""

    number: int
    plan: Plan
    slot: _Slot
    pixels: Tensor  # in the slot
    next: int = 0  # image of the piece to be read next
    left: int = 0  # pieces that are not done
    error: BaseException | None = None  # of one of its pieces
    on_device: Tensor | None = None


@dataclass(frozen=True)
class _Piece:
    """Some images of a batch."""

    batch: _Batch
    images: slice


class _Line:
    """What readers and their user share: requests to come, the batch under way, those done, and free memory."""

    def __init__(
        self, source: Source, requests: Iterator[Request], threads: int, device: torch.device
    ) -> None:
        self.source, self.device, self._threads = source, device, threads
        self._requests = requests
        self._condition = threading.Condition()
        self._coming: deque[Plan] = deque()
        self._announced = 0  # of those that come
        self._is_asking = False  # a thread makes requests
        self._is_exhausted = False
        self._failure: BaseException | None = None  # of whoever makes the requests
        self._breakdown: BaseException | None = None  # of a thread, with no piece to blame
        self._open: _Batch | None = None  # the batch whose pieces are being given out
        self._done: dict[int, _Batch] = {}
        self._free: list[_Slot] = []
        self.most_slots = self._slots = 0  # in all; the first request tells how many it may be
        self._began = self._taken = 0
        self._is_closed = False

    def work(self) -> None:
        """What a thread does: reads one piece after the other until there are no more."""
        try:
            worker = _Worker(self)
            while worker.do_next():
                pass
        except BaseException as error:
            with self._condition:
                self._breakdown = error
                self._condition.notify_all()

    def take_piece(self, reader: Reader) -> _Piece | None:
        """The next piece to be read; waits for memory. None if there are no more. reader: the caller's."""
        while True:
            with self._condition:
                self._condition.wait_for(self._can_go_on)
                if self._is_closed:
                    return None
                piece = self._next_piece()
                if piece is None and not self._must_ask():
                    if self._is_exhausted:
                        self._condition.notify_all()
                        return None
                    continue
                is_asking = not self._is_asking and self._wants_more()
                self._is_asking |= is_asking
            if is_asking:
                self._ask(reader)
            if piece is not None:
                return piece

    def _can_go_on(self) -> bool:
        has_piece = self._open is not None or (bool(self._coming) and self._has_room())
        is_over = self._is_exhausted and not self._coming
        return self._is_closed or has_piece or is_over or self._must_ask()

    def _must_ask(self) -> bool:
        """Whether nothing can be read before a further request is made, and nobody makes it."""
        return not (self._is_exhausted or self._is_asking or self._coming or self._open)

    def _has_room(self) -> bool:
        return bool(self._free) or self._slots < self.most_slots or self.most_slots == 0

    def _next_piece(self) -> _Piece | None:
        """The next piece, if there is one that has room."""
        if self._open is None and self._coming and self._has_room():
            self._begin(self._coming.popleft())
        batch = self._open
        if batch is None:
            return None
        piece = _Piece(batch, slice(batch.next, min(batch.next + self.source.piece, len(batch.plan))))
        batch.next = piece.images.stop
        if batch.next == len(batch.plan):
            self._open = None
        return piece

    def _begin(self, plan: Plan) -> None:
        """Opens the next batch."""
        if self.most_slots == 0:
            # One for the user, one to be ready, and as many as all threads can have pieces in.
            size, count = min(self.source.piece, len(plan)), max(1, len(plan))
            self.most_slots = 2 + -(-self._threads * size // count) if self._threads else 1
        self._announced = max(0, self._announced - 1)
        if not self._free:
            self._free.append(_Slot(self.device))
            self._slots += 1
        slot = self._free.pop()
        pixels = slot.fit(len(plan), self.source.side)
        pieces = max(1, -(-len(plan) // self.source.piece))
        self._open = _Batch(self._began, plan, slot, pixels, left=pieces)
        self._began += 1

    def _wants_more(self) -> bool:
        """Whether so little comes next that a further request is to be made."""
        if self._is_exhausted:
            return False
        wanted = sum(plan.bytes for plan in self._coming)
        return not self._coming or (len(self._coming) < AHEAD_BATCHES and wanted < AHEAD_BYTES)

    def _ask(self, reader: Reader) -> None:
        """Makes requests, as many as are wanted, and announces their images where they are likely to be on the disk.

        One thread at a time; the others go on with what there is.
        """
        while True:
            plan = failure = None
            try:
                plan = self.source.plan(next(self._requests))
            except StopIteration:
                pass
            except BaseException as error:
                failure = error
            with self._condition:
                if plan is None:
                    self._is_exhausted, self._failure = True, self._failure or failure
                else:
                    self._coming.append(plan)
                self._is_asking = self._wants_more() and not self._is_closed
                is_over = not self._is_asking
                self._condition.notify_all()
            if self.source.is_cold:
                self.announce(reader)
            if is_over:
                return

    def announce(self, reader: Reader) -> None:
        """Announces the images of all that comes."""
        with self._condition:
            plans = list(self._coming)[self._announced :]
            self._announced = len(self._coming)
        for plan in plans:
            reader.announce(plan)

    def finish(self, piece: _Piece, worker: _Worker, error: BaseException | None) -> None:
        """Notes that a piece is done, or the error that ended it; with the last one its batch is."""
        batch = piece.batch
        with self._condition:
            batch.error = batch.error or error
            batch.left -= 1
            if batch.left:
                return
        try:
            batch.on_device = worker.send(batch.pixels)
        except BaseException as failure:
            batch.error = batch.error or failure
        with self._condition:
            self._done[batch.number] = batch
            self._condition.notify_all()

    def give_back(self, batch: _Batch | None) -> None:
        """Frees the memory of a batch that was taken, if there is one."""
        if batch is not None:
            with self._condition:
                self._free.append(batch.slot)
                self._condition.notify_all()

    @property
    def is_next_done(self) -> bool:
        """Whether `take` has not to wait."""
        is_over = self._is_exhausted and not self._coming and self._taken == self._began
        return self._taken in self._done or is_over or self._is_closed or self._breakdown is not None

    def take(self) -> _Batch | None:
        """The next batch in order once it is done, None after the last; raises its error."""
        with self._condition:
            self._condition.wait_for(lambda: self.is_next_done)
            if self._is_closed:  # what is still being read may not be whole
                return None
            if self._taken not in self._done:
                failure = self._breakdown or self._failure
                if failure is not None:
                    raise failure
                return None
            batch = self._done.pop(self._taken)
            self._taken += 1
        if batch.error is not None:
            raise batch.error
        return batch

    def close(self) -> None:
        """Lets whoever waits go."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()


class _Worker:
    """What one thread does, with a reader and a stream to the GPU of its own."""

    def __init__(self, line: _Line) -> None:
        self._line, self._reader = line, line.source.reader()
        self._stream: torch.cuda.Stream | None = None

    def do_next(self) -> bool:
        """Reads the next piece; False if there are no more."""
        piece = self._line.take_piece(self._reader)
        if piece is None:
            return False
        error = None
        try:
            plan = piece.batch.plan
            if self._reader.read(plan, piece.images, piece.batch.pixels.numpy()):
                self._reader.announce(plan, piece.images.stop)
                self._line.announce(self._reader)
        except BaseException as failure:
            error = failure
        self._line.finish(piece, self, error)
        return True

    def fill_next(self) -> None:
        """Reads pieces until the next batch is done."""
        while not self._line.is_next_done and self.do_next():
            pass

    def send(self, pixels: Tensor) -> Tensor:
        """The pixels on the device, once they are there."""
        device = self._line.device
        if device.type != "cuda":
            return pixels
        with torch.cuda.device(device):
            if self._stream is None:
                self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            with torch.cuda.stream(self._stream):
                moved = pixels.to(device, non_blocking=True)
            self._stream.synchronize()
        return moved
