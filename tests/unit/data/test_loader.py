"""Feeding: the same bytes whoever reads them, each image once, and threads that end."""

import _thread
import gc
import signal
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.core.augment import cut_crops
from alexnet.core.draws import draw_augmentation, image_order
from alexnet.data import loader as loader_module
from alexnet.data import reading
from alexnet.data.loader import SPARE_SLOTS, Loader
from alexnet.data.reading import QUIET_BATCHES, Request, open_source
from alexnet.data.shards import open_split
from alexnet.errors import UserError
from tests.unit.data.made_shards import make_split

SIDE, CROP, BATCH = 24, 19, 4
COUNT = 23  # five batches and three images
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def split(request, tmp_path_factory):
    images = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3)).astype(np.uint8)
    quality = 90 if request.param == "jpeg" else None
    return make_split(tmp_path_factory.mktemp(request.param) / "data", images, quality)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not readers()


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


def requests(epoch=0, first=0, count=COUNT, crop=CROP, side=SIDE, batch=BATCH):
    order = image_order(5, epoch, count)
    for start in range(first * batch, count, batch):
        indices = order[start : start + batch]
        yield Request(indices, draw_augmentation(5, epoch, indices, side - crop + 1))


def deliver(split, asked, side=CROP, readers=1, **settings):
    """Copies of all batches."""
    with Loader(split, asked, side, readers=readers, device=CPU, **settings) as loader:
        return [pixels.numpy().copy() for _, pixels in loader]


def plain(split, asked, side=CROP):
    """What a loader is to deliver, image by image."""
    batches = []
    for request in asked:
        images = torch.from_numpy(split.read(request.indices))
        batches.append((images if request.draws is None else cut_crops(images, request.draws, side)).numpy())
    return batches


def same(batches, others):
    return len(batches) == len(others) and all(map(np.array_equal, batches, others))


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_batches_are_the_plain_ones_whoever_reads_them(split, threads, is_cached):
    expected = plain(split, requests())
    assert [len(batch) for batch in expected] == [4, 4, 4, 4, 4, 3]
    assert same(deliver(split, requests(), readers=threads, is_cached=is_cached), expected)


@pytest.mark.parametrize("ahead", [1, 3, 99])
def test_batches_do_not_depend_on_how_far_ahead_requests_are_made(split, monkeypatch, ahead):
    monkeypatch.setattr(loader_module, "AHEAD_BATCHES", ahead)
    assert same(deliver(split, requests(), readers=2), plain(split, requests()))


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("threads", [0, 2])
def test_whole_images_are_those_of_the_split(split, threads, is_cached):
    asked = [Request(np.arange(start, min(start + BATCH, COUNT))) for start in range(0, COUNT, BATCH)]
    batches = deliver(split, asked, SIDE, threads, is_cached=is_cached)
    assert np.array_equal(np.concatenate(batches), split.read(np.arange(COUNT)))


@settings(deadline=None, max_examples=50)
@given(
    side=st.integers(8, 40),
    less=st.integers(0, 32),
    seed=st.integers(0, 2**32),
    quality=st.sampled_from([None, 90]),
)
def test_crops_of_any_size_equal_their_plain_twin(tmp_path_factory, side, less, seed, quality):
    crop = max(1, side - less)
    images = np.random.default_rng(seed).integers(0, 256, (7, side, side, 3)).astype(np.uint8)
    split = make_split(tmp_path_factory.mktemp("made") / "data", images, quality, shard_images=3)
    asked = list(requests(seed % 100, count=7, crop=crop, side=side))
    for is_cached in (True, False):
        assert same(deliver(split, asked, crop, 2, is_cached=is_cached), plain(split, asked, crop))


def test_each_image_comes_once_in_an_epoch_with_its_request(split):
    with Loader(split, requests(3), CROP, readers=2, device=CPU) as loader:
        seen = [request.indices for request, pixels in loader if len(pixels) == len(request.indices)]
    assert sorted(np.concatenate(seen).tolist()) == list(range(COUNT))
    assert np.concatenate(seen).tolist() == image_order(5, 3, COUNT).tolist()


@pytest.mark.parametrize("first", [1, 4, 5, 6])
def test_a_pass_may_begin_at_any_batch(split, first):
    whole = deliver(split, requests(2))
    assert same(deliver(split, requests(2, first), readers=2), whole[first:])


def test_parts_of_a_minibatch_may_be_empty(split):
    asked = [Request(np.arange(2)), Request(np.arange(0)), Request(np.arange(2, 3))]
    assert [len(batch) for batch in deliver(split, asked, SIDE, 2)] == [2, 0, 1]
    assert deliver(split, [], SIDE, 2) == []


def test_a_batch_holds_until_the_next_is_asked_for_and_memory_is_used_again(split):
    expected, places = plain(split, requests()) * 4, set()
    with Loader(split, (r for _ in range(4) for r in requests()), CROP, readers=2, device=CPU) as loader:
        for (_, pixels), batch in zip(loader, expected, strict=True):
            time.sleep(0.002)  # for the readers to get as far ahead as they can
            assert np.array_equal(pixels.numpy(), batch)
            places.add(pixels.data_ptr())
    assert len(places) <= 2 + SPARE_SLOTS


@pytest.mark.parametrize("threads", [0, 2])
def test_readers_get_no_further_ahead_than_they_say(split, threads):
    made = []
    asked = (made.append(0) or request for _ in range(9) for request in requests())
    with Loader(split, asked, CROP, readers=threads, device=CPU) as loader:
        next(loader)
        time.sleep(0.05)
        assert 1 < len(made) <= 1 + loader.most_ahead < 40


# Errors


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("threads", [0, 1, 3])
def test_a_damaged_image_is_told_in_its_place(tmp_path, threads, is_cached):
    images = np.full((12, SIDE, SIDE, 3), 99, np.uint8)
    size = make_split(tmp_path / "data", images, quality=90).sizes[0]
    shard = tmp_path / "data/train-00001.jpegs"
    content = shard.read_bytes()
    shard.write_bytes(content[:size] + bytes(size) + content[2 * size :])
    split = open_split(tmp_path / "data", "train")
    asked = [Request(np.arange(start, start + 3)) for start in range(0, 12, 3)]
    with Loader(split, asked, SIDE, readers=threads, device=CPU, is_cached=is_cached) as loader:
        assert [request.indices[0] for request, _ in (next(loader), next(loader))] == [0, 3]
        with pytest.raises(UserError, match=r"image 1 of train shard 1: is damaged"):
            next(loader)
        assert not readers()


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_an_error_of_whoever_asks_is_raised_as_itself_in_its_place(split, threads):
    def asked():
        yield Request(np.arange(2))
        raise LookupError("no more draws")

    with Loader(split, asked(), SIDE, readers=threads, device=CPU) as loader:
        next(loader)
        with pytest.raises(LookupError, match="no more draws"):
            next(loader)


@pytest.mark.parametrize("threads", [0, 2])
def test_an_index_outside_the_split_is_an_error(split, threads):
    with pytest.raises(IndexError, match=f"asked for 0..{COUNT}"):
        deliver(split, [Request(np.array([0, COUNT]))], SIDE, threads)


def test_a_thread_that_cannot_begin_is_no_hang(split, monkeypatch):
    def fail(self):
        raise MemoryError("no room")

    monkeypatch.setattr(reading.Source, "reader", fail)
    with pytest.raises(MemoryError, match="no room"):
        deliver(split, requests())


@pytest.mark.skipif(
    not hasattr(__import__("os"), "O_DIRECT"), reason="files cannot be read past the page cache here"
)
def test_a_shard_cut_short_while_it_is_in_use_is_told(tmp_path):
    split = make_split(tmp_path / "data", np.zeros((4, SIDE, SIDE, 3), np.uint8))
    if open_source(split, SIDE, 1, is_cached=False).is_cached:
        pytest.skip("nothing can be read past the page cache here")
    with (tmp_path / "data/train-00000.rgb").open("r+b") as shard:
        shard.truncate(3000)
    with pytest.raises(UserError, match=r"train-00000.rgb: ended at byte 3,000 while it was read"):
        deliver(split, [Request(np.arange(4))], SIDE, is_cached=False)


def test_an_error_of_the_user_leaves_no_thread(split):
    with pytest.raises(ZeroDivisionError), Loader(split, requests(), CROP, readers=3, device=CPU) as loader:
        next(loader)
        raise ZeroDivisionError
    assert not readers()
    assert list(loader) == []


def test_a_loader_that_is_forgotten_leaves_no_thread(split):
    loader = Loader(split, requests(), CROP, readers=2, device=CPU)
    next(loader)
    assert len(readers()) == 2
    del loader
    gc.collect()
    assert not readers()


def test_a_keyboard_interrupt_comes_through_while_it_waits(split):
    def asked():
        yield Request(np.arange(2))
        time.sleep(0.5)
        yield Request(np.arange(2))

    # What runs in the background of a shell without job control is started with this signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Loader(split, asked(), SIDE, readers=1, device=CPU) as loader:
            threading.Timer(0.1, _thread.interrupt_main).start()
            with pytest.raises(KeyboardInterrupt):
                list(loader)
    finally:
        signal.signal(signal.SIGINT, before)


# The disk


class Disk:
    """Stands in for the kernel: what is announced, and whether anything comes from the disk."""

    def __init__(self):
        self.announced, self.blocks, self.is_cold = [], 0, True

    def advise(self, address, length, advice):
        self.announced.append((address, length, advice))

    def count(self):
        self.blocks += self.is_cold
        return self.blocks

    def wanted(self):
        return [
            (address, length)
            for address, length, advice in self.announced
            if advice == reading.mmap.MADV_WILLNEED
        ]


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()
    monkeypatch.setattr(reading, "_find_madvise", lambda: disk.advise)
    monkeypatch.setattr(reading, "_count_blocks", disk.count)
    monkeypatch.setattr(loader_module, "AHEAD_BYTES", 1)
    return disk


def test_what_is_wanted_of_an_image_is_announced_before_it_is_read(split, disk):
    """Of raw images the rows of the crop, in whole pages."""
    (asked,) = list(requests(count=4))
    deliver(split, [asked], readers=0, is_cached=True)
    page = reading.mmap.PAGESIZE
    for index, row, (address, length) in zip(asked.indices, asked.draws.rows, disk.wanted(), strict=True):
        shard, _ = split.locate(index)
        begin = split.shards[shard[0]].ctypes.data + split.offsets[index]
        size = split.sizes[index]
        if split.store == "raw":
            begin, size = begin + row * SIDE * 3, CROP * SIDE * 3
        assert address == begin // page * page and address + length == begin + size


def test_images_are_announced_as_long_as_the_disk_is_read_and_again_when_it_is(split, disk, monkeypatch):
    """Batches of 20, of which 8 are read before anybody notices that they come from the disk again."""
    monkeypatch.setitem(reading.PART, "raw", 8)
    batches, told = [Request(np.arange(20))] * 40, []
    with Loader(split, batches, SIDE, readers=0, device=CPU, is_cached=True) as loader:
        for number, _ in enumerate(loader):
            told.append(len(disk.wanted()))
            disk.is_cold = number < 10 or number >= 30
    assert told[10] == 11 * 20
    assert told[11 + QUIET_BATCHES] == told[30] == (11 + QUIET_BATCHES) * 20
    assert told[39] == told[30] + 12 + 8 * 20


@pytest.mark.parametrize(("memory", "is_cached"), [(None, True), (10**9, True), (20_000, False)])
def test_a_split_larger_than_the_memory_passes_by_the_page_cache(split, monkeypatch, memory, is_cached):
    """23 raw images have 39,744 bytes, 23 JPEGs more than 20,000 of noise."""
    monkeypatch.setattr(reading, "available_memory", lambda: memory)
    monkeypatch.setattr(reading, "_can_read_directly", lambda split: True)
    assert open_source(split, CROP, 1).is_cached == is_cached


def test_a_gpu_gets_the_same_bytes(split):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: there is none here")
    for threads in (0, 1, 3):
        with Loader(split, requests(), CROP, readers=threads, device=torch.device("cuda")) as loader:
            batches = [pixels.cpu().numpy() for _, pixels in loader if pixels.is_cuda]
        assert same(batches, plain(split, requests()))
