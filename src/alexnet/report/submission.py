"""Predictions in the format of ILSVRC's classification contest: a line of five devkit ids for each image (§1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet.core.ensemble import rank_average
from alexnet.core.predictions import Predictions, hash_classes
from alexnet.data.inventory import Synset
from alexnet.errors import UserError
from alexnet.report.scores import check_same_images

GUESSES = 5


def make_submission(members: Sequence[Predictions], synsets: Sequence[Synset]) -> str:
    """The text of a submission: a line per image in alphabetical order of the keys, which are the file names, with the
    devkit ids of the five best labels, best first, separated by blanks.

    members: one, or several that are averaged with equal weights. synsets: of the data set, label n the n-th.
    Raises UserError if there are no images, fewer than five classes, classes without a devkit id or other than those
    predicted, or members that cannot be averaged.
    """
    first = members[0]
    what = f"submission for {first.dataset} {first.split}"
    if not first.keys:
        raise UserError(
            what, "there are no images", found=first.reason, fix="Prepare and predict the split first."
        )
    if first.num_classes < GUESSES:
        raise UserError(
            what, "the format wants five guesses", found=f"{first.num_classes} classes",
            expected=f"{GUESSES} or more",
        )  # fmt: skip
    ids = _devkit_ids(what, first, synsets)
    check_same_images(members)
    best = _rank(what, members)
    order = sorted(range(len(first.keys)), key=first.keys.__getitem__)
    return "".join(" ".join(map(str, ids[best[place]])) + "\n" for place in order)


def read_submission(path: Path, num_classes: int) -> npt.NDArray[np.int32]:
    """The guesses of a submission, (N, at most 5) devkit ids, lines in order; the twin of `make_submission`.

    Raises UserError on a line that does not have one to five different ids from 1 to `num_classes`, as many as the
    first has.
    """
    guesses: list[list[int]] = []
    try:
        lines = path.read_text(encoding="ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(str(path), f"cannot be read: {error}") from None
    if lines.pop() or not lines:
        raise UserError(str(path), "is cut short", expected="a line for each image, each ended")
    for number, line in enumerate(lines, 1):
        words = line.split(" ")
        ids = [int(word) if word.isdecimal() else 0 for word in words]
        is_sound = all(1 <= each <= num_classes for each in ids) and len(set(ids)) == len(ids)
        if not (is_sound and 1 <= len(ids) <= GUESSES and len(ids) == len(guesses[0] if guesses else ids)):
            raise UserError(
                f"{path}, line {number}", "is no line of a submission", found=repr(line),
                expected=f"different ids from 1 to {num_classes}, {GUESSES} at most, as many in each line",
            )  # fmt: skip
        guesses.append(ids)
    return np.array(guesses, np.int32)


def _devkit_ids(what: str, predicted: Predictions, synsets: Sequence[Synset]) -> npt.NDArray[np.int32]:
    """The devkit id of each label."""
    if predicted.synsets_sha256 not in (None, hash_classes(synset.wnid for synset in synsets)):
        raise UserError(
            what, f"{predicted.member} predicts other classes than the data set has",
            fix="Predict again, or name the data set that was predicted.",
        )  # fmt: skip
    ids = [synset.devkit_id for synset in synsets]
    if len(ids) != predicted.num_classes or sorted(each or 0 for each in ids) != list(range(1, len(ids) + 1)):
        without = sum(each is None for each in ids)
        raise UserError(
            what, "its classes have no devkit ids of 1 and up, each once", found=f"{without} of {len(ids)} without one",
            fix="Only a contest with a development kit takes submissions.",
        )  # fmt: skip
    return np.array(ids, np.int32)


def _rank(what: str, members: Sequence[Predictions]) -> npt.NDArray[np.int32]:
    """The five best labels of each image, by ten views."""
    if len(members) == 1:
        return members[0].ten.labels
    probs = []
    for member in members:
        if member.ten.probs is None:
            raise UserError(
                what, f"{member.member} stores only its best classes, so it cannot be averaged",
                fix="Raise predict.store_probs_up_to and predict again, or submit one member.",
            )  # fmt: skip
        probs.append(member.ten.probs)
    return rank_average(probs, GUESSES)
