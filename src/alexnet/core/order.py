"""Random order as a pure function of a seed and a name, so that nothing else can change it."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def named_rng(seed: int, *names: str) -> np.random.Generator:
    """A counter-based generator (Philox) that belongs to `names`: what is drawn for one name moves no other."""
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
    return np.random.Generator(np.random.Philox(key=[seed, int.from_bytes(digest, "little")]))


def seeded_order(num: int, seed: int, *names: str) -> npt.NDArray[np.int64]:
    """A permutation of range(num) drawn for `names`."""
    return named_rng(seed, *names).permutation(num)
