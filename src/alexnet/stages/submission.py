"""A file in the format of ILSVRC's classification contest, from stored predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alexnet.data.predictions import read_members
from alexnet.data.shards import load_manifest
from alexnet.data.whole import write_whole
from alexnet.errors import UserError
from alexnet.report.submission import make_submission, read_submission


def run(members: Sequence[str], split: str, dataset: str, predictions: Path, data: Path, output: Path) -> str:
    """Writes a line per image of the split by these members' average, whole; returns what was written, in words.

    predictions: the folder of all. data: of the prepared data set, for its devkit ids.
    Raises UserError if a member is named twice, its predictions are missing, or `make_submission` refuses.
    """
    if len(set(members)) < len(members):
        raise UserError("alexnet submission", "names a member twice", found=" ".join(members))
    synsets = load_manifest(data).synsets
    read = read_members(predictions, dataset, members, [split], probs_of=("ten",) if len(members) > 1 else ())
    chosen = [read[member][split] for member in members]
    write_whole(output, make_submission(chosen, synsets))
    written = read_submission(output, len(synsets))
    assert len(written) == len(chosen[0].keys)
    return (
        f"{output}: {len(written):,} images of {dataset} {split}, five classes each, by {' + '.join(members)}"
    )
