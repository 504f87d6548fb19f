"""Philox4x32-10 against its published answers, and the same on every kind of array."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alexnet.core.philox import philox

ONES = 0xFFFFFFFF

# Counter, key and answer, from the tests that the authors of Philox publish with it.
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]

words = st.integers(0, ONES)
counters = st.tuples(words, words, words, words)
keys = st.tuples(words, words)


@pytest.mark.parametrize(("counter", "key", "answer"), PUBLISHED)
def test_published_answers(counter, key, answer):
    assert philox(counter, key) == answer
    arrays = philox(tuple(np.array([word]) for word in counter), key)
    assert tuple(array.item() for array in arrays) == answer
    tensors = philox(tuple(torch.tensor([word]) for word in counter), key)
    assert tuple(tensor.item() for tensor in tensors) == answer


@given(counters=st.lists(counters, min_size=1, max_size=40), key=keys)
def test_arrays_and_tensors_give_what_exact_whole_numbers_give(counters, key):
    columns = [list(column) for column in zip(*counters, strict=True)]
    exact = [philox(counter, key) for counter in counters]
    arrays = philox(tuple(np.array(column) for column in columns), key)
    tensors = philox(tuple(torch.tensor(column) for column in columns), key)
    assert all(array.dtype == np.int64 for array in arrays)
    assert list(zip(*(array.tolist() for array in arrays), strict=True)) == exact
    assert list(zip(*(tensor.tolist() for tensor in tensors), strict=True)) == exact


@given(counter=counters, key=keys)
def test_words_have_32_bits(counter, key):
    tensors = philox((torch.tensor([counter[0]]), *counter[1:]), key)
    assert all(0 <= int(tensor) <= ONES for tensor in tensors)


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_counters_broadcast_and_stay_as_they_were(make):
    rows, columns = make([[7], [ONES]]), make([[1, 2, 3]])
    drawn = philox((rows, 5, columns, 9), (11, 12))
    for i, row in enumerate((7, ONES)):
        for j, column in enumerate((1, 2, 3)):
            assert tuple(int(word[i, j]) for word in drawn) == philox((row, 5, column, 9), (11, 12))
    assert rows.tolist() == [[7], [ONES]]
    assert columns.tolist() == [[1, 2, 3]]


def test_each_bit_of_counter_and_key_changes_half_of_the_words():
    start = [3, 1, 4, 1, 5, 9]
    plain = philox(tuple(start[:4]), tuple(start[4:]))
    for place in range(6):
        for bit in range(32):
            other = start.copy()
            other[place] ^= 1 << bit
            changed = philox(tuple(other[:4]), tuple(other[4:]))
            flips = sum((a ^ b).bit_count() for a, b in zip(plain, changed, strict=True))
            assert 35 < flips < 93  # 64 of 128, 5 deviations of 5.7 to either side
