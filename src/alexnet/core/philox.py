"""Philox4x32-10: a counter in, four random words out, the same on NumPy arrays and on tensors of any device.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

Words = TypeVar("Words", int, npt.NDArray[np.int64], Tensor)

MASK = 0xFFFFFFFF
_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


def philox(
    counter: tuple[Words | int, Words | int, Words | int, Words | int], key: tuple[int, int]
) -> tuple[Words, Words, Words, Words]:
    """Four words, each from 0 to 2³² - 1, that look independent for any two different counters or keys.

    counter: four words of 32 bits: whole numbers, and int64 arrays or tensors of at least one axis that
    broadcast (a NumPy scalar would warn of the overflow that is meant here). key: two words of 32 bits.
    Returns int64 of the broadcast shape; plain whole numbers where the counter is made of them alone.
    """
    words: tuple[Any, Any, Any, Any] = counter
    (a, b, c, d), (key_0, key_1) = words, key
    for _ in range(_ROUNDS):
        # A product of two words may wrap to a negative int64. Its 64 bits are right all the same, and the masks
        # take off the ones that the shift then fills in from the left.
        product_a, product_c = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        # The ^ makes new arrays, of the full shape; so the steps after it may work in place.
        a, c = (product_c >> 32) ^ b, (product_a >> 32) ^ d
        a ^= key_0
        c ^= key_1
        a &= MASK
        c &= MASK
        b, d = product_c & MASK, product_a & MASK
        key_0 += _KEY_STEPS[0]  # may pass 32 bits: the masks take that off too
        key_1 += _KEY_STEPS[1]
    return a, b, c, d
