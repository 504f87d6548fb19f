"""Every table again from a folder of predictions alone: no pixels, no weights, no parameters of the run."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from alexnet.core.predictions import Predictions, ViewPredictions
from alexnet.data.predictions import read_members
from alexnet.data.whole import write_whole
from alexnet.errors import UserError
from alexnet.report.ensembles import (
    Search,
    add_searched,
    ensembles_of,
    list_searches,
    list_weights,
    make_subsets,
    search,
    to_text,
)
from alexnet.report.paper import TABLES, Ensemble, Table
from alexnet.report.tables import Read, make_table, to_csv, to_markdown

SPLITS = ("val", "test")
SEED = 2012


@dataclass(frozen=True)
class Wanted:
    """What to make of a folder of predictions.

    groups: member -> its group, in order. subsets: further ensembles, each of these members. left_out: data set ->
    reason, for what is missing. splits: draws of held-out halves, or 0 for no search of weights.
    """

    groups: Mapping[str, str]
    subsets: Sequence[Sequence[str]]
    left_out: Mapping[str, str]
    confidence: float
    splits: int


def find_members(folder: Path) -> dict[str, dict[str, set[str]]]:
    """Data set -> member -> the splits it has predictions for, in a folder laid out as DATASET/MEMBER/SPLIT.parquet.

    Raises UserError if there is no such file in it.
    """
    found: dict[str, dict[str, set[str]]] = {}
    for path in sorted(folder.glob("*/*/*.parquet")):
        if path.stem in SPLITS:
            found.setdefault(path.parts[-3], {}).setdefault(path.parts[-2], set()).add(path.stem)
    if not found:
        raise UserError(
            str(folder), "has no predictions" if folder.is_dir() else "is no folder",
            expected="DATASET/MEMBER/SPLIT.parquet in it", fix="Name the folder that holds the data sets' folders.",
        )  # fmt: skip
    return found


def run(folder: Path, wanted: Wanted) -> dict[str, pd.DataFrame]:
    """Each of the paper's tables by its name, then `ensembles` for the subsets, and `weights` and `search`.

    Raises UserError if a member is not there, a file is damaged, or members that are compared predict different images.
    """
    there = find_members(folder)
    subsets = {" + ".join(names): _find_subset(folder, there, names) for names in wanted.subsets}
    made: dict[str, pd.DataFrame] = {}
    searches: dict[str, Search | str] = {}
    for table in TABLES.values():
        own = _members_of(folder, table, there, wanted.groups)
        is_averaged = any(isinstance(figure.source, Ensemble) for figure in table.figures)
        read = _read(folder, table.dataset, own, there, table.splits, with_probs=is_averaged)
        frame = make_table(table, own, read, wanted.left_out, wanted.confidence)
        frame["reason"] = frame["reason"].str.replace("params.yaml has", f"{folder} has", regex=False)
        if wanted.splits:
            groups = {group: [name for name in own if own[name] == group] for group in table.groups}
            found = {
                name: _search(name, [read[member]["val"] for member in members], wanted.splits)
                for name, members in ensembles_of(table, groups).items()
            }
            frame = add_searched(frame, table, found, read, wanted.confidence)
            searches |= found
        made[table.name] = frame
    if subsets:
        frames = []
        for name, (dataset, members) in subsets.items():
            read = _read(folder, dataset, members, there, SPLITS, with_probs=len(members) > 1)
            if wanted.splits and len(members) > 1:
                searches[name] = _search(name, [read[member]["val"] for member in members], wanted.splits)
            frames.append(make_subsets({name: members}, read, searches, wanted.confidence))
        made["ensembles"] = pd.concat(frames, ignore_index=True)
    if wanted.splits:
        made["weights"], made["search"] = list_weights(searches), list_searches(searches, wanted.confidence)
    return made


def write(made: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Writes each table as CSV into the folder, whole, the paper's ones as `alexnet table` writes them."""
    for name, frame in made.items():
        write_whole(folder / f"{name}.csv", to_csv(frame) if name in TABLES else _to_csv(frame))


def render(made: Mapping[str, pd.DataFrame]) -> str:
    """All of them in Markdown, errors in percent."""
    titles = {
        "table1": "Table 1", "table2": "Table 2", "fall2009": "Fall 2009", "ensembles": "Ensembles",
        "weights": "Weights searched on validation", "search": "What the search promises and keeps, top-5",
    }  # fmt: skip
    parts = [
        f"## {titles[name]}\n\n{to_markdown(frame) if name in TABLES else to_text(frame)}"
        for name, frame in made.items()
    ]
    return "\n".join(parts)


def _to_csv(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False, lineterminator="\n"))


def _members_of(
    folder: Path, table: Table, there: Mapping[str, Mapping[str, set[str]]], groups: Mapping[str, str]
) -> dict[str, str]:
    """The table's members that have predictions; says which have none, and which have no group."""
    here = there.get(table.dataset, {})
    own = {name: group for name, group in groups.items() if group in table.groups}
    if missing := [name for name in own if name not in here]:
        _say(f"{folder} has no predictions for {table.dataset} of {', '.join(missing)}")
    if strangers := [name for name in here if name not in groups]:
        _say(
            f"{', '.join(strangers)} of {table.dataset} have no group and stand in no table: --group GROUP=MEMBER,..."
        )
    return {name: group for name, group in own.items() if name in here}


def _find_subset(
    folder: Path, there: Mapping[str, Mapping[str, set[str]]], names: Sequence[str]
) -> tuple[str, list[str]]:
    """The data set and members of an ensemble. Raises UserError if a member is not there, twice, or on other data."""
    known = [member for members in there.values() for member in members]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise UserError(
                "--members", f"{folder} has no predictions of this member", found=name,
                expected=f"one of {', '.join(known)}", fix=f"Did you mean {close[0]}?" if close else "",
            )  # fmt: skip
        if names.count(name) > 1:
            raise UserError("--members", "names a member twice", found=",".join(names), fix="Name it once.")
    shared = [dataset for dataset, members in there.items() if all(name in members for name in names)]
    if len(shared) != 1:
        raise UserError(
            "--members", f"these are predicted together on {'several data sets' if shared else 'no data set'}",
            found=",".join(names), expected="members of one data set", fix="Name others.",
        )  # fmt: skip
    return shared[0], list(names)


def _read(
    folder: Path,
    dataset: str,
    members: Sequence[str] | Mapping[str, str],
    there: Mapping[str, Mapping[str, set[str]]],
    splits: Sequence[str],
    *,
    with_probs: bool,
) -> Read:
    """Member -> split -> predictions; a split without a file is one without images, and says so."""
    read: dict[str, dict[str, Predictions]] = {}
    for member in members:
        own = [split for split in splits if split in there[dataset][member]]
        if not own:
            raise UserError(
                str(folder / dataset / member), "has no predictions for these splits", expected=" or ".join(splits),
                fix="Copy them too.",
            )  # fmt: skip
        read |= read_members(folder, dataset, [member], own, probs_of=("ten",) if with_probs else ())
        first = read[member][own[0]]
        for split in splits:
            if split not in own:
                read[member][split] = _no_images(first, split, f"{folder} has no {split}.parquet of {member}")
        read[member] = {split: read[member][split] for split in splits}
    return read


def _no_images(like: Predictions, split: str, reason: str) -> Predictions:
    def none(view: ViewPredictions) -> ViewPredictions:
        return ViewPredictions(view.labels[:0], view.top_probs[:0], None)

    return replace(
        like, split=split, keys=[], labels=np.empty(0, np.int64), ten=none(like.ten), centre=none(like.centre),
        reason=reason,
    )  # fmt: skip


def _search(name: str, val: Sequence[Predictions], splits: int) -> Search | str:
    found = search(val, splits, SEED)
    if isinstance(found, str):
        _say(f"no weights are searched for {name}: {found}")
    return found


def _say(text: str) -> None:
    print(f"tables: {text}", file=sys.stderr)
