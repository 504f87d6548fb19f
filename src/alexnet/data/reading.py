"""Images out of prepared shards into memory, as whole images or as crops: what one thread does.

A split that fits in memory is read through maps of its shards, out of the page cache. What is not there yet would come
from the disk page by page, far slower than it can. So while anything comes from a disk, as the kernel counts it, images
are announced before they are wanted, and it fetches them side by side; and it fetches nothing beside them, as it would
by itself, since neighbours are not wanted soon.

A split that does not fit passes by the page cache, where images in shuffled order would rarely be found again. Of each
image what is wanted is read and no more, by as many threads as keep a disk busy. An image is large enough that its
place on the disk does not matter, and so a quarter of the processor time does.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg

from alexnet.core.crops_cpu import cut_at
from alexnet.core.draws import Draws
from alexnet.data.memory import available_memory
from alexnet.data.shards import PreparedSplit
from alexnet.errors import UserError

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
Addresses = npt.NDArray[np.uintp]


@dataclass(frozen=True)
class Request:
    """Images read together, by their indices in the split: of each a crop as drawn, or all of it if draws is None."""

    indices: Places
    draws: Draws | None = None


@dataclass
class Source:
    """What the readers of a split share.

    side: of the crops, or of the images where they are read whole. cores: holds as many threads as may compute at a
    time. is_cached: whether it is read by way of the page cache. quiet: batches in a row for which no disk was read.
    """

    split: PreparedSplit
    side: int
    cores: threading.Semaphore
    is_cached: bool
    quiet: int = 0

    @property
    def is_cold(self) -> bool:
        """Whether images are to be announced: taken for granted until enough have been read without a disk."""
        return self.is_cached and self.quiet < QUIET_BATCHES

    def count_bytes(self, request: Request) -> int:
        """Bytes that are wanted of a request's stored images: of raw ones the rows of the crops."""
        if self.split.store == "raw":
            return len(request.indices) * self.side * self.split.side * 3
        return int(self.split.sizes[request.indices].sum())

    def reader(self) -> Reader:
        """A reader for one thread."""
        return _MapReader(self) if self.is_cached else _FileReader(self)


def open_source(split: PreparedSplit, side: int, cores: int, *, is_cached: bool | None = None) -> Source:
    """A split to read from by threads of which `cores` compute at a time.

    is_cached: None decides by the memory there is. Where files cannot be read past the page cache, none is.
    """
    if is_cached is None:
        memory = available_memory()
        is_cached = memory is None or int(split.sizes.sum()) <= CACHE_SHARE * memory
    return Source(split, side, threading.Semaphore(cores), is_cached or not _can_read_directly(split))


def _can_read_directly(split: PreparedSplit) -> bool:
    """Whether the shards can be read past the page cache, which not every system and file system lets one do."""
    if not (hasattr(os, "O_DIRECT") and split.shards):
        return False
    try:
        os.close(os.open(str(split.shards[0].filename), os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return False
    return True


class Reader:
    """Reads images in one thread, with memory of its own."""

    def __init__(self, source: Source, part: int) -> None:
        """Part: how many images are read at a time."""
        self.source, self.split, self.part = source, source.split, part
        self._blocks = _count_blocks()
        side = self.split.side
        self._line = side * 3
        self._decoded = np.empty((part, side, side, 3), np.uint8)  # takes no memory until it is used

    def announce(self, request: Request, start: int = 0) -> None:
        """Has the kernel fetch what is stored of a request's images from `start` on, and does not wait for it."""

    def _find(self, indices: Places, rows: Places) -> Addresses:
        """Where what is wanted of some raw images lies in memory: their rows from `rows` on."""
        raise NotImplementedError

    def _encoded(self, indices: Places) -> list[memoryview]:
        """The JPEGs of some images."""
        raise NotImplementedError

    def read(self, request: Request, pixels: Pixels) -> Iterator[int]:
        """Reads a request's images into `pixels` (n, side, side, 3); yields how many it has read, part by part.

        Raises UserError for a damaged image, and where the disk fails.
        """
        if request.draws is not None and len(request.indices):
            rows = request.draws.rows
            assert 0 <= rows.min() <= rows.max() <= self.split.side - self.source.side
        has_read = False
        for start in range(0, len(request.indices), self.part):
            end = start + self.part
            self._read_part(request, slice(start, end), pixels)
            if self._has_read_disk():
                has_read = True
                if self.source.quiet >= QUIET_BATCHES:  # what comes from the disk was not expected to
                    self.source.quiet = 0
                    self.announce(request, end)
            yield min(end, len(request.indices))
        self.source.quiet = 0 if has_read else self.source.quiet + 1

    def _has_read_disk(self) -> bool:
        """Whether this thread has had anything fetched since it was last asked."""
        before, self._blocks = self._blocks, _count_blocks()
        return self._blocks != before

    def _read_part(self, request: Request, part: slice, pixels: Pixels) -> None:
        indices, draws, target = request.indices[part], request.draws, pixels[part]
        rows = columns = np.zeros(len(indices), np.int64)
        mirrored = np.zeros(len(indices), np.bool_)
        if draws is not None:
            rows, columns, mirrored = draws.rows[part], draws.columns[part], draws.mirrored[part]
        if self.split.store == "raw":
            addresses = self._find(indices, rows)
            with self.source.cores:
                cut_at(addresses, np.zeros_like(rows), columns, mirrored, self.split.side, target)
            return
        encoded = self._encoded(indices)
        with self.source.cores:
            if draws is None:
                self._decode(indices, encoded, target)
            else:
                self._decode(indices, encoded, self._decoded)
                addresses = _addresses(self._decoded)[: len(indices)]
                cut_at(addresses, rows, columns, mirrored, self.split.side, target)

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

    def _spans(self, indices: Places, rows: Places) -> tuple[Places, Places]:
        """The first byte in its shard of what is wanted of each image, and how many bytes."""
        first, count = self.split.offsets[indices], self.split.sizes[indices]
        if self.split.store == "raw":
            first = first + rows * self._line
            count = np.full_like(first, self.source.side * self._line)
        return first, count


class _MapReader(Reader):
    """Reads images in maps of the shards: out of the page cache, or by way of it."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, PART[source.split.store])
        shards = source.split.shards
        self._bases = np.array([shard.ctypes.data for shard in shards], np.uintp)
        self._files = [memoryview(shard.reshape(-1).data) for shard in shards]
        self._advise = _find_madvise()
        if self._advise is None:
            source.quiet = QUIET_BATCHES  # nothing can be announced
            return
        for base, shard in zip(self._bases.tolist(), shards, strict=True):
            self._advise(base, shard.nbytes, mmap.MADV_RANDOM)  # nothing beside what is asked for

    def announce(self, request: Request, start: int = 0) -> None:
        """Has the kernel fetch what is stored of a request's images from `start` on, and does not wait for it."""
        if self._advise is None:
            return
        indices = request.indices[start:]
        rows = np.zeros_like(indices) if request.draws is None else request.draws.rows[start:]
        first, count = self._spans(indices, rows)
        first = first + self._bases[self.split.locate(indices)[0]].astype(np.int64)
        begin = first // mmap.PAGESIZE * mmap.PAGESIZE
        for address, length in zip(begin.tolist(), (first + count - begin).tolist(), strict=True):
            self._advise(address, length, mmap.MADV_WILLNEED)

    def _find(self, indices: Places, rows: Places) -> Addresses:
        first, _ = self._spans(indices, rows)
        return self._bases[self.split.locate(indices)[0]] + first.astype(np.uintp)

    def _encoded(self, indices: Places) -> list[memoryview]:
        first, count = self._spans(indices, indices)
        places = zip(self.split.locate(indices)[0].tolist(), first.tolist(), count.tolist(), strict=True)
        return [self._files[shard][start : start + size] for shard, start, size in places]


class _FileReader(Reader):
    """Reads images past the page cache, in whole blocks of the disk."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, PART["jpeg"])
        split = source.split
        self._paths = [str(shard.filename) for shard in split.shards]
        stored = source.side * self._line if split.store == "raw" else int(split.sizes.max())
        room = -(-stored // BLOCK) * BLOCK + BLOCK  # for one, wherever in a block it begins
        # A mapping begins with a page, as such reads want it.
        self._room = np.frombuffer(mmap.mmap(-1, self.part * room), np.uint8).reshape(self.part, room)

    def _find(self, indices: Places, rows: Places) -> Addresses:
        starts, _ = self._fetch(indices, rows)
        return _addresses(self._room)[: len(indices)] + starts.astype(np.uintp)

    def _encoded(self, indices: Places) -> list[memoryview]:
        starts, counts = self._fetch(indices, indices)
        places = enumerate(zip(starts.tolist(), counts.tolist(), strict=True))
        return [self._room[number].data[start : start + size] for number, (start, size) in places]

    def _fetch(self, indices: Places, rows: Places) -> tuple[Places, Places]:
        """Reads what is wanted of each image into its row of the room; returns where in the row it is."""
        first, count = self._spans(indices, rows)
        begin = first // BLOCK * BLOCK
        starts = first - begin
        lengths = -(-(starts + count) // BLOCK) * BLOCK
        shards, _ = self.split.locate(indices)
        places = zip(
            shards.tolist(), begin.tolist(), lengths.tolist(), (starts + count).tolist(), strict=True
        )
        for number, (shard, offset, length, wanted) in enumerate(places):
            self._read_blocks(self._paths[shard], offset, self._room[number, :length], wanted)
        return starts, count

    def _read_blocks(self, path: str, offset: int, room: Pixels, wanted: int) -> None:
        """Reads from a place in a file; opened each time, for there may be thousands."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_DIRECT)
            try:
                done = os.preadv(file, [room.data], offset)
            finally:
                os.close(file)
        except OSError as error:
            raise UserError(
                f"shard {path}", f"cannot be read ({error.strerror})", fix="See whether the disk is in order."
            ) from None
        if done < wanted:
            raise UserError(
                f"shard {path}", f"ended at byte {offset + done:,} while it was read",
                fix="Leave prepared data alone while it is in use; prepare it again.",
            )  # fmt: skip


def _addresses(rows: Pixels) -> Addresses:
    """Where each of an array's rows begins in memory."""
    return np.uintp(rows.ctypes.data) + np.arange(len(rows), dtype=np.uintp) * np.uintp(rows.strides[0])


def _count_blocks() -> int:
    """Blocks that this thread has had fetched from a disk so far; 0 where the kernel does not count them."""
    thread = getattr(resource, "RUSAGE_THREAD", None)
    return resource.getrusage(thread).ru_inblock if thread is not None else 0


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
