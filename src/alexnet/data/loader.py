"""Batches of prepared images, read ahead of whoever computes with them.

What is read is asked for by requests: images by their indices, and where each one's crop lies. So the bytes depend on
nothing else, neither on threads nor on what came before, and a pass may begin at any batch. Pixels stay uint8; what is
done with them is for the device that computes.

Threads do the work, since what cuts and what decodes let others run meanwhile. Each fills one batch at a time, in memory
that is used again; batches come in the order of the requests.

A split that fits in memory is read through maps of its shards, out of the page cache. What is not there yet would come
from the disk page by page, far slower than it can. So while anything still comes from a disk, as the kernel counts it,
the images of the next batches are announced, and it fetches them side by side; and it fetches nothing beside them, as
it would by itself, for neighbours are not wanted soon. A split that does not fit passes by the page cache, where shuffled
images would rarely be found again: more threads read what is wanted of each image and no more, as many at a time as keep
a disk busy. That takes a quarter of the processor time, and a random order costs such a disk nothing, since an image is
large.
"""

from __future__ import annotations

import abc
import contextlib
import ctypes
import mmap
import os
import resource
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from torch import Tensor

from alexnet.core.crops_cpu import cut_at
from alexnet.core.draws import Draws
from alexnet.data.memory import available_memory
from alexnet.data.shards import PreparedSplit
from alexnet.errors import UserError

SPARE_SLOTS = 2  # beside those being filled: one with whoever computes, one ready for it
AHEAD_BYTES = 1 << 26  # announced beyond the batches that are being filled
PART = {
    "raw": 32,
    "jpeg": 8,
}  # images between two looks at what came from the disk; decoded, 8 fit a core's cache
QUIET_BATCHES = 8  # in a row without a read from the disk: then images are announced no more
CACHE_SHARE = 0.8  # of the memory that is available, for a split that is to stay there
IN_FLIGHT = 8  # reads at a time that keep a disk busy
BLOCK = 4096  # bytes, to which reads past the page cache are aligned: no disk has larger ones

Pixels = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Request:
    """Images read together, by their indices in the split: of each a crop as drawn, or all of it if draws is None."""

    indices: npt.NDArray[np.int64]
    draws: Draws | None = None


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
        source = _open_source(split, side, is_cached=is_cached)
        source.cores = threading.Semaphore(max(1, readers))
        number_of_threads = max(readers, IN_FLIGHT) if readers and isinstance(source, _Files) else readers
        self._line = _Line(source, iter(requests), number_of_threads, device)
        threads = [
            threading.Thread(target=self._line.work, name=f"reader {number}", daemon=True)
            for number in range(number_of_threads)
        ]
        self._worker = None if readers else _Worker(self._line)
        self._slot: _Slot | None = None
        self._end = weakref.finalize(self, _end, self._line, threads)
        for thread in threads:
            thread.start()

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
            else:
                self._pixels = torch.from_numpy(
                    np.empty(wanted, np.uint8)
                )  # huge pages, where NumPy knows them
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
        self, source: _Source, requests: Iterator[Request], threads: int, device: torch.device
    ) -> None:
        self.source, self.device = source, device
        self._requests = requests
        self._condition = threading.Condition()
        self._free = [_Slot(device) for _ in range(threads + SPARE_SLOTS if threads else 1)]
        self._done: dict[int, _Task | BaseException] = {}
        self._turn = threading.Lock()  # of who takes the next request
        self._coming: deque[_Task] = deque()
        self._failure: BaseException | None = None  # of whoever makes the requests
        self._is_exhausted = False
        self._asked = self._began = self._taken = 0
        self._total: int | None = None
        self._is_closed = False

    def work(self) -> None:
        """What a thread does: fills one batch after the other until there are no more."""
        worker = _Worker(self)
        while worker.do_next():
            pass

    def begin(self) -> _Task | None:
        """The next task, with room for it; waits for room. None if there are no more."""
        with self._turn:
            with self._condition:
                self._condition.wait_for(lambda: self._free or self._is_closed)
                if self._is_closed or self._total is not None:
                    return None
            self._look_ahead()
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

    def _look_ahead(self) -> None:
        """Makes the requests of the next batches, and announces their images if they are likely to be on the disk."""
        while not self._is_exhausted and (
            not self._coming or self.source.count_bytes(task.request for task in self._coming) < AHEAD_BYTES
        ):
            try:
                self._coming.append(_Task(self._asked, next(self._requests)))
                self._asked += 1
            except StopIteration:
                self._is_exhausted = True
            except BaseException as error:
                self._is_exhausted, self._failure = True, error
        if self.source.is_cold:
            for task in self._coming:
                if not task.is_announced:
                    self.source.announce(task.request)
                    task.is_announced = True

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
                lambda: self._taken in self._done or self._taken == self._total or self._is_closed
            )
            if self._taken not in self._done:
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
    """One reader's own: memory to decode into, its count of reads from the disk, and its stream to the GPU."""

    def __init__(self, line: _Line) -> None:
        self._line, self._source = line, line.source
        self._room = self._source.make_room()
        side = self._source.split.side
        self._decoded = np.empty((self._source.part, side, side, 3), np.uint8)  # no memory until it is used
        self._blocks = _count_blocks()
        self._stream: torch.cuda.Stream | None = None

    def do_next(self) -> bool:
        """Does the next task; False if there are no more."""
        task = self._line.begin()
        if task is None:
            return False
        try:
            task.pixels = self._read(task)
        except BaseException as error:
            self._line.finish(task, error)
            return False
        self._line.finish(task)
        return True

    def _read(self, task: _Task) -> Tensor:
        assert task.slot is not None
        count, device = len(task.request.indices), self._line.device
        on_device = torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
        with on_device:
            pixels = task.slot.fit(count, self._source.side)
            self._fill(task.request, pixels.numpy())
            return self._send(pixels, device)

    def _fill(self, request: Request, pixels: Pixels) -> None:
        has_read = False
        for done in self._source.fill(request, pixels, self._room, self._decoded):
            if self._line.is_closed:
                return
            blocks = _count_blocks()
            if blocks != self._blocks:
                self._blocks, has_read = blocks, True
                if not self._source.is_cold:
                    self._source.note(has_read=True)
                    self._source.announce(request, done)
        self._source.note(has_read=has_read)

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


def _count_blocks() -> int:
    """Blocks that this thread has had fetched from a disk so far; 0 where the kernel does not count them."""
    thread = getattr(resource, "RUSAGE_THREAD", None)
    return resource.getrusage(thread).ru_inblock if thread is not None else 0


class _Source(abc.ABC):
    """A split's images as they are stored, to be cut or decoded. Threads share it."""

    def __init__(self, split: PreparedSplit, side: int) -> None:
        self.split, self.side = split, side
        self.bytes_of_line = split.side * 3
        self.cores = threading.Semaphore()  # how many threads compute at a time

    @abc.abstractmethod
    def find_raw(self, indices: Places, rows: Places, room: Pixels) -> tuple[npt.NDArray[np.uintp], Places]:
        """Addresses (n,) of raw images, and the rows of their crops counted from there. room: of `make_room`."""

    @abc.abstractmethod
    def find_encoded(self, indices: Places, room: Pixels) -> list[memoryview]:
        """The JPEGs of images."""

    @abc.abstractmethod
    def make_room(self) -> Pixels:
        """Memory of a thread for the stored images of a part."""

    @property
    def part(self) -> int:
        """Images that are read at a time."""
        return PART[self.split.store]

    def announce(self, request: Request, start: int = 0) -> None:
        """Has the kernel fetch what is stored of a request's images from `start` on, and does not wait for it."""

    def note(self, *, has_read: bool) -> None:
        """Takes note of whether the disk was read for a batch."""

    @property
    def is_cold(self) -> bool:
        """Whether images are to be announced."""
        return False

    def count_bytes(self, requests: Iterable[Request]) -> int:
        """Stored bytes of requested images."""
        return sum(int(self.split.sizes[request.indices].sum()) for request in requests)

    def span(self, indices: Places, rows: Places) -> tuple[Places, Places]:
        """The first byte that is wanted of each stored image in its shard, and how many."""
        first, count = self.split.offsets[indices], self.split.sizes[indices]
        if self.split.store == "raw":
            first = first + rows * self.bytes_of_line
            count = np.full_like(first, self.side * self.bytes_of_line)
        return first, count

    def fill(self, request: Request, pixels: Pixels, room: Pixels, decoded: Pixels) -> Iterator[int]:
        """Reads a request's images into `pixels` (n, side, side, 3); yields how many are done.

        room: of `make_room`; decoded: (part, split's side, split's side, 3), of the thread too.
        """
        indices, draws, split = request.indices, request.draws, self.split
        none = np.zeros(len(indices), np.int64)
        rows, columns, mirrored = none, none, none.astype(np.bool_)
        if draws is not None:
            rows, columns, mirrored = draws.rows, draws.columns, draws.mirrored
        places = np.uintp(decoded.ctypes.data) + np.arange(self.part, dtype=np.uintp) * np.uintp(
            decoded[0].nbytes
        )
        for start in range(0, len(indices), self.part):
            part = slice(start, start + self.part)
            some, own_rows = indices[part], rows[part]
            if split.store == "raw":
                addresses, own_rows = self.find_raw(some, own_rows, room)
            else:
                encoded = self.find_encoded(some, room)
                addresses = places[: len(some)]
            with self.cores:
                if split.store == "jpeg":
                    self._decode(some, encoded, pixels[part] if draws is None else decoded)
                if split.store == "raw" or draws is not None:
                    cut_at(addresses, own_rows, columns[part], mirrored[part], split.side, pixels[part])
            yield part.stop

    def _decode(self, indices: Places, encoded: list[memoryview], images: Pixels) -> None:
        """Decodes images one behind the other. Raises UserError for a damaged one."""
        for number, data in enumerate(encoded):
            image = images[number]
            try:
                is_whole = simplejpeg.decode_jpeg(data, "RGB", buffer=image).shape == image.shape
            except ValueError:
                is_whole = False
            if not is_whole:
                image[:] = self.split.decode(int(indices[number]))  # which says what is wrong with it


class _Maps(_Source):
    """Images in maps of the shards: in the page cache, or brought there."""

    def __init__(self, split: PreparedSplit, side: int) -> None:
        super().__init__(split, side)
        self._quiet = 0  # batches in a row for which the disk was not read
        self._bases = np.array([shard.ctypes.data for shard in split.shards], np.uintp)
        self._files = [memoryview(shard.reshape(-1).data) for shard in split.shards]
        self._advise = _find_madvise()
        if self._advise is not None:
            for base, shard in zip(self._bases.tolist(), split.shards, strict=True):
                self._advise(
                    base, shard.nbytes, mmap.MADV_RANDOM
                )  # by itself the kernel fetches neighbours too

    def make_room(self) -> Pixels:
        """None is needed."""
        return np.empty(0, np.uint8)

    @property
    def is_cold(self) -> bool:
        """Whether images are likely to be on the disk alone; taken for granted until enough have been read."""
        return self._advise is not None and self._quiet < QUIET_BATCHES

    def note(self, *, has_read: bool) -> None:
        """Takes note of whether the disk was read for a batch."""
        self._quiet = 0 if has_read else self._quiet + 1

    def announce(self, request: Request, start: int = 0) -> None:
        """Has the kernel fetch what is stored of a request's images from `start` on, and does not wait for it."""
        if self._advise is None:
            return
        indices = request.indices[start:]
        rows = np.zeros_like(indices) if request.draws is None else request.draws.rows[start:]
        shards, _ = self.split.locate(indices)
        first, count = self.span(indices, rows)
        first = first + self._bases[shards].astype(np.int64)
        begin = first // mmap.PAGESIZE * mmap.PAGESIZE
        for address, length in zip(begin.tolist(), (first + count - begin).tolist(), strict=True):
            self._advise(address, length, mmap.MADV_WILLNEED)

    def find_raw(self, indices: Places, rows: Places, room: Pixels) -> tuple[npt.NDArray[np.uintp], Places]:
        """Addresses (n,) of raw images, and the rows of their crops as they are."""
        shards, _ = self.split.locate(indices)
        return self._bases[shards] + self.split.offsets[indices].astype(np.uintp), rows

    def find_encoded(self, indices: Places, room: Pixels) -> list[memoryview]:
        """The JPEGs of images."""
        shards, _ = self.split.locate(indices)
        starts = self.split.offsets[indices]
        ends = starts + self.split.sizes[indices]
        places = zip(shards.tolist(), starts.tolist(), ends.tolist(), strict=True)
        return [self._files[shard][start:end] for shard, start, end in places]


class _Files(_Source):
    """Images in files, read past the page cache, in whole blocks of the disk."""

    def __init__(self, split: PreparedSplit, side: int) -> None:
        super().__init__(split, side)
        self._paths = [str(shard.filename) for shard in split.shards]
        stored = side * self.bytes_of_line if split.store == "raw" else int(split.sizes.max())
        self._bytes = -(-stored // BLOCK) * BLOCK + BLOCK  # room for one, wherever in a block it begins

    @property
    def part(self) -> int:
        """Few, so that they fit a core's cache."""
        return PART["jpeg"]

    def make_room(self) -> Pixels:
        """Memory for a part's images, each from the beginning of a block."""
        room = np.frombuffer(mmap.mmap(-1, self.part * self._bytes), np.uint8)  # a mapping begins with a page
        return room.reshape(self.part, self._bytes)

    def find_raw(self, indices: Places, rows: Places, room: Pixels) -> tuple[npt.NDArray[np.uintp], Places]:
        """Addresses (n,) of the crops' first rows."""
        starts = self._read(indices, rows, room)
        bases = np.uintp(room.ctypes.data) + np.arange(len(indices), dtype=np.uintp) * np.uintp(self._bytes)
        return bases + starts.astype(np.uintp), np.zeros_like(rows)

    def find_encoded(self, indices: Places, room: Pixels) -> list[memoryview]:
        """The JPEGs of images."""
        starts = self._read(indices, np.zeros_like(indices), room)
        ends = starts + self.split.sizes[indices]
        places = enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
        return [room[number].data[start:end] for number, (start, end) in places]

    def _read(self, indices: Places, rows: Places, room: Pixels) -> Places:
        """Reads what is wanted of each image into its part of `room`; returns where there it begins."""
        shards, _ = self.split.locate(indices)
        first, count = self.span(indices, rows)
        begin = first // BLOCK * BLOCK
        wanted = first + count - begin
        lengths = -(-wanted // BLOCK) * BLOCK
        places = zip(shards.tolist(), begin.tolist(), lengths.tolist(), wanted.tolist(), strict=True)
        for number, (shard, offset, length, least) in enumerate(places):
            self._read_blocks(self._paths[shard], offset, room[number, :length], least)
        return first - begin

    def _read_blocks(self, path: str, offset: int, room: Pixels, least: int) -> None:
        try:
            file = os.open(path, os.O_RDONLY | os.O_DIRECT)
            try:
                done = os.preadv(file, [room.data], offset)
            finally:
                os.close(file)
        except OSError as error:
            raise UserError(
                f"shard {path}", f"cannot be read ({error.strerror})", fix="Look after the disk."
            ) from None
        if done < least:
            raise UserError(
                f"shard {path}", f"ended at byte {offset + done:,} while it was read",
                fix="Leave prepared data alone while it is used; prepare it again.",
            )  # fmt: skip


def _open_source(split: PreparedSplit, side: int, *, is_cached: bool | None) -> _Source:
    """is_cached: whether to read by way of the page cache; None decides by the memory there is."""
    if is_cached is None:
        memory = available_memory()
        is_cached = memory is None or int(split.sizes.sum()) <= CACHE_SHARE * memory
    return _Maps(split, side) if is_cached or not _can_read_directly(split) else _Files(split, side)


def _can_read_directly(split: PreparedSplit) -> bool:
    """Whether the shards can be read past the page cache, which not every file system lets one do."""
    if not (hasattr(os, "O_DIRECT") and split.shards):
        return False
    try:
        os.close(os.open(str(split.shards[0].filename), os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return False
    return True


def _find_madvise() -> Any:
    """The C library's madvise(address, bytes, advice), which leaves other threads running; None where it is not there.

    For images that are read in no order it is of use only with a count of what came from the disk.
    """
    if not (hasattr(mmap, "MADV_RANDOM") and hasattr(resource, "RUSAGE_THREAD")):
        return None
    try:
        advise = ctypes.CDLL(None).madvise
    except (AttributeError, OSError):
        return None
    advise.argtypes, advise.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    return advise
