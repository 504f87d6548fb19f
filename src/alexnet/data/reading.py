"""Images out of prepared shards into memory, as whole images or as crops: what one thread does.

A split that fits in memory is read through maps of its shards, out of the page cache. What is not there yet would come
from the disk page by page, far slower than it can. So while anything comes from a disk, as the kernel counts it, images
are announced before they are wanted, and it fetches them side by side; and it fetches nothing beside them, as it would
by itself, since neighbours are not wanted soon.

A split that does not fit passes by the page cache, where images in shuffled order would rarely be found again. Of each
image what is wanted is read and no more, by as many threads as keep a disk busy. An image is large enough that its
place on the disk does not matter; and the kernel, which has no pages to clear and to find again, takes half the time.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import threading
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

# Images that a thread reads at a time: enough that starting takes little of it; decoded, 8 fit a core's cache.
PIECE = {"raw": 64, "jpeg": 8}
QUIET_IMAGES = 1024  # in a row without a read from the disk: then images are announced no more
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


@dataclass(frozen=True)
class Plan:
    """A request with where its images lie: what is wanted of each, and where in that its crop begins."""

    request: Request
    shards: Places  # (n,)
    first: Places  # (n,) first wanted byte in the shard
    counts: Places  # (n,) wanted bytes: a JPEG, or of a raw image the rows of the crop
    rows: Places  # (n,) of the crop in what is wanted, once it is decoded
    columns: Places  # (n,)
    mirrored: npt.NDArray[np.bool_]  # (n,)
    bytes: int  # that are wanted in all

    def __len__(self) -> int:
        return len(self.shards)

    @property
    def is_whole(self) -> bool:
        """Whether images are read whole."""
        return self.request.draws is None


@dataclass
class Source:
    """What the readers of a split share.

    side: of the crops, or of the images where they are read whole. cores: holds as many threads as may compute at a
    time. is_cached: whether it is read by way of the page cache. quiet: images in a row for which no disk was read.
    """

    split: PreparedSplit
    side: int
    cores: threading.Semaphore
    is_cached: bool
    quiet: int = 0

    @property
    def is_cold(self) -> bool:
        """Whether images are to be announced: taken for granted until enough have been read without a disk."""
        return self.is_cached and self.quiet < QUIET_IMAGES

    @property
    def piece(self) -> int:
        """Images that a thread reads at a time."""
        return PIECE[self.split.store if self.is_cached else "jpeg"]

    def plan(self, request: Request) -> Plan:
        """Finds a request's images. Raises IndexError for one outside the split."""
        split, draws, indices = self.split, request.draws, request.indices
        shards, _ = split.locate(indices)
        rows = columns = np.zeros(len(indices), np.int64)
        mirrored = np.zeros(len(indices), np.bool_)
        if draws is not None:
            rows, columns, mirrored = draws.rows, draws.columns, draws.mirrored
            assert len(rows) == len(indices)
            assert not len(rows) or 0 <= rows.min() <= rows.max() <= split.side - self.side
        first, counts = split.offsets[indices], split.sizes[indices]
        if split.store == "raw":
            line = split.side * 3
            first, counts = first + rows * line, np.full_like(first, self.side * line)
            rows = np.zeros_like(rows)
        return Plan(request, shards, first, counts, rows, columns, mirrored, int(counts.sum()))

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

    def __init__(self, source: Source) -> None:
        self.source, self.split = source, source.split
        self._blocks = _count_blocks()
        side = self.split.side
        # Takes no memory until it is used.
        self._decoded = np.empty((source.piece, side, side, 3), np.uint8)

    def announce(self, plan: Plan, start: int = 0) -> None:
        """Has the kernel fetch what is wanted of the images from `start` on, and does not wait for it."""

    def _find(self, plan: Plan, piece: slice) -> Addresses:
        """Where in memory what is wanted of some raw images lies."""
        raise NotImplementedError

    def _encoded(self, plan: Plan, piece: slice) -> list[memoryview]:
        """The JPEGs of some images."""
        raise NotImplementedError

    def read(self, plan: Plan, piece: slice, pixels: Pixels) -> bool:
        """Reads some of the images into their places in `pixels` (n, side, side, 3).

        Returns whether they came from a disk though that was not expected: then what comes next is to be announced.
        Raises UserError for a damaged image, and where the disk fails.
        """
        target, split = pixels[piece], self.split
        columns, mirrored = plan.columns[piece], plan.mirrored[piece]
        if split.store == "raw":
            addresses = self._find(plan, piece)
            with self.source.cores:
                cut_at(addresses, plan.rows[piece], columns, mirrored, split.side, target)
        else:
            encoded = self._encoded(plan, piece)
            with self.source.cores:
                self._decode(plan.request.indices[piece], encoded, target if plan.is_whole else self._decoded)
                if not plan.is_whole:
                    addresses = _addresses(self._decoded)[: len(target)]
                    cut_at(addresses, plan.rows[piece], columns, mirrored, split.side, target)
        return self._note(len(target))

    def _note(self, count: int) -> bool:
        """Takes note of whether the disk was read for so many images."""
        before, self._blocks = self._blocks, _count_blocks()
        if self._blocks == before:
            self.source.quiet += count
            return False
        was_cold, self.source.quiet = self.source.is_cold, 0
        return not was_cold

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


class _MapReader(Reader):
    """Reads images in maps of the shards: out of the page cache, or by way of it."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        shards = source.split.shards
        self._bases = np.array([shard.ctypes.data for shard in shards], np.uintp)
        self._files = [memoryview(shard.reshape(-1).data) for shard in shards]
        self._advise = _find_madvise()
        if self._advise is None:
            source.quiet = QUIET_IMAGES  # nothing can be announced
            return
        for base, shard in zip(self._bases.tolist(), shards, strict=True):
            self._advise(base, shard.nbytes, mmap.MADV_RANDOM)  # nothing beside what is asked for

    def announce(self, plan: Plan, start: int = 0) -> None:
        """Has the kernel fetch what is wanted of the images from `start` on, and does not wait for it."""
        if self._advise is None:
            return
        first = self._find(plan, slice(start, None)).astype(np.int64)
        begin = first // mmap.PAGESIZE * mmap.PAGESIZE
        lengths = first + plan.counts[start:] - begin
        for address, length in zip(begin.tolist(), lengths.tolist(), strict=True):
            self._advise(address, length, mmap.MADV_WILLNEED)

    def _find(self, plan: Plan, piece: slice) -> Addresses:
        return self._bases[plan.shards[piece]] + plan.first[piece].astype(np.uintp)

    def _encoded(self, plan: Plan, piece: slice) -> list[memoryview]:
        some = (values[piece].tolist() for values in (plan.shards, plan.first, plan.counts))
        return [self._files[shard][first : first + count] for shard, first, count in zip(*some, strict=True)]


class _FileReader(Reader):
    """Reads images past the page cache, in whole blocks of the disk."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        split = source.split
        self._paths = [str(shard.filename) for shard in split.shards]
        stored = source.side * split.side * 3 if split.store == "raw" else int(split.sizes.max())
        room = -(-stored // BLOCK) * BLOCK + BLOCK  # for one, wherever in a block it begins
        # A mapping begins with a page, as such reads want it.
        self._room = np.frombuffer(mmap.mmap(-1, source.piece * room), np.uint8).reshape(source.piece, room)

    def _find(self, plan: Plan, piece: slice) -> Addresses:
        starts = self._fetch(plan, piece)
        return _addresses(self._room)[: len(starts)] + starts.astype(np.uintp)

    def _encoded(self, plan: Plan, piece: slice) -> list[memoryview]:
        starts, counts = self._fetch(plan, piece).tolist(), plan.counts[piece].tolist()
        places = enumerate(zip(starts, counts, strict=True))
        return [self._room[number].data[start : start + count] for number, (start, count) in places]

    def _fetch(self, plan: Plan, piece: slice) -> Places:
        """Reads what is wanted of some images, each into its row of the room; returns where in the row it begins."""
        first = plan.first[piece]
        begin = first // BLOCK * BLOCK
        wanted = first + plan.counts[piece] - begin
        places = zip(plan.shards[piece].tolist(), begin.tolist(), wanted.tolist(), strict=True)
        for number, (shard, offset, least) in enumerate(places):
            room = self._room[number, : -(-least // BLOCK) * BLOCK]
            self._read_blocks(self._paths[shard], offset, room, least)
        return first - begin

    def _read_blocks(self, path: str, offset: int, room: Pixels, least: int) -> None:
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
        if done < least:
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
