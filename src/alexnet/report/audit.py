"""What an audit has to say of a data set: as data, as a table, and what needs attention."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from alexnet.data.inspect import COMMON_KINDS, KINDS
from alexnet.data.inventory import SPLITS, Inventory, Synset

SMALL_PX = 256  # shorter side below which preparing for the paper's network enlarges
QUANTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)
MEANS = ("mean_r", "mean_g", "mean_b")
EXAMPLES = 3  # of each kind and extreme
LISTED = 100  # in audit.json; images.parquet and same_pixels.csv list all
NAMED = 3  # in a line of text

# Why an image is shown for no kind of its own: by a column of `add`, and whether the largest is wanted.
EXTREMES = {
    "widest": ("aspect", True),
    "tallest": ("aspect", False),
    "largest": ("area", True),
    "smallest": ("area", False),
    "brightest": ("brightness", True),
    "darkest": ("brightness", False),
}


@dataclass
class Tally:
    """Sums over the images of a data set, added batch by batch."""

    num_classes: int
    images: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)
    grey: Counter[str] = field(default_factory=Counter)
    small: Counter[str] = field(default_factory=Counter)
    odd: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, str]] = field(default_factory=list)
    sums: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    classes: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    extremes: dict[str, pd.DataFrame] = field(default_factory=dict)

    def add(self, frame: pd.DataFrame) -> None:
        """Adds images: rows of an audit (`data.audits.IMAGE_SCHEMA`)."""
        for split, rows in frame.groupby("split", sort=False):
            self._add_split(str(split), rows)
        readable = frame[frame["reason"].isna()]
        self.sums += readable[list(MEANS)].to_numpy(np.float64).sum(axis=0)
        self._add_extremes(readable)
        for reason, rows in frame[frame["reason"].notna()].groupby("reason"):
            self.reasons[str(reason)] += len(rows)
        for row in frame[frame["reason"].notna()].head(LISTED - len(self.refused)).to_dict("records"):
            self.refused.append({name: str(row[name]) for name in ("split", "key", "reason")})

    def _add_split(self, split: str, rows: pd.DataFrame) -> None:
        self.images[split] += len(rows)
        self.unreadable[split] += int(rows["reason"].notna().sum())
        self.labelled[split] += int(rows["label"].notna().sum())
        self.grey[split] += int(rows["is_grey"].eq(True).sum())
        self.small[split] += int((rows[["width", "height"]].min(axis=1) < SMALL_PX).sum())
        labels = rows["label"].dropna().to_numpy(np.int64)
        counts = self.classes.setdefault(split, np.zeros(self.num_classes, np.int64))
        counts += np.bincount(labels, minlength=self.num_classes)
        for key, kinds in zip(rows["key"], rows["kinds"], strict=True):
            self.odd[split] += any(kind in KINDS for kind in kinds)
            for kind in kinds:
                self.kinds.setdefault(kind, Counter())[split] += 1
                if len(shown := self.examples.setdefault(kind, [])) < EXAMPLES:
                    shown.append((split, key))

    def _add_extremes(self, readable: pd.DataFrame) -> None:
        rows = readable[["split", "key"]].assign(
            aspect=readable["width"] / readable["height"],
            area=readable["width"].astype(np.int64) * readable["height"],
            brightness=readable[list(MEANS)].mean(axis=1),
        )
        for why, (column, is_largest) in EXTREMES.items():
            candidates = pd.concat([self.extremes[why], rows]) if why in self.extremes else rows
            ordered = candidates.sort_values(column, ascending=not is_largest, kind="stable")
            self.extremes[why] = ordered.head(EXAMPLES)


def count_classes(synsets: Sequence[Synset], tally: Tally) -> pd.DataFrame:
    """A row per class, by label: its numbers, its images in each split, and the development kit's count of train.

    difference: ours in train minus the kit's; NA where there is no kit.
    """
    empty = np.zeros(len(synsets), np.int64)
    frame = pd.DataFrame(
        {
            "wnid": [synset.wnid for synset in synsets],
            "words": [synset.words for synset in synsets],
            "label": [synset.label for synset in synsets],
            "devkit_id": pd.array([synset.devkit_id for synset in synsets], dtype="Int64"),
            **{split: tally.classes.get(split, empty) for split in SPLITS},
            "devkit_train": pd.array([synset.train_images for synset in synsets], dtype="Int64"),
        }
    )
    return frame.assign(difference=frame["train"] - frame["devkit_train"])


def compare_places(same: pd.DataFrame, dataset: str) -> list[dict[str, Any]]:
    """For each two places with images of the same pixels: how many such pixels, images and disagreeing labels.

    same: as `find_same` returns. A place is a split, or DATASET/SPLIT of another data set; the two may be one.
    At least one is of `dataset`. Labels disagree if the same pixels have two: of one data set, whatever its classes are
    called, of two if they are called by wnids.
    """
    is_own = same["dataset"] == dataset
    names = same["split"].where(is_own, same["dataset"] + "/" + same["split"])
    places = sorted(set(names), key=lambda name: (name not in SPLITS, _place_order(name)))
    groups = pd.factorize(same["pixels"])[0]
    columns = pd.Categorical(names, places).codes.astype(np.int64)
    shape = (int(groups.max(initial=-1)) + 1, len(places))
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, (groups, columns), 1)
    labels = pd.factorize(same["wnid"], sort=True)[0]  # -1: none
    ranges = {
        between: _find_ranges(shape, groups, columns, np.where(is_known, labels, -1))
        for between, is_known in (("own", True), ("sets", _are_wnids(same["wnid"])))
    }
    found = []
    for a, b in itertools.combinations_with_replacement(range(len(places)), 2):
        shared = counts[:, a] > 1 if a == b else (counts[:, a] > 0) & (counts[:, b] > 0)
        if places[a] not in SPLITS or not shared.any():
            continue
        least, most = ranges["own" if places[b] in SPLITS else "sets"]
        low, high = np.minimum(least[:, a], least[:, b]), np.maximum(most[:, a], most[:, b])
        found.append(
            {
                "places": [places[a], places[b]],
                "pixels": int(shared.sum()),
                "images": int(counts[shared][:, [a] if a == b else [a, b]].sum()),
                "labels_disagree": int((shared & (low < high)).sum()),
            }
        )
    return found


def _place_order(name: str) -> tuple[str, int]:
    other, _, split = name.rpartition("/")
    return other, SPLITS.index(split)


def _are_wnids(names: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    are: npt.NDArray[np.bool_] = (
        names.astype("string").str.fullmatch(r"n\d{8}").eq(True).to_numpy(bool, na_value=False)
    )
    return are


def _find_ranges(
    shape: tuple[int, int],
    groups: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The least and the greatest label of each group in each place, crossed where it has none."""
    least, most = np.full(shape, np.iinfo(np.int64).max), np.full(shape, -1)
    known = labels >= 0
    np.minimum.at(least, (groups[known], columns[known]), labels[known])
    np.maximum.at(most, (groups[known], columns[known]), labels[known])
    return least, most


def find_disagreeing(same: pd.DataFrame, dataset: str) -> set[str]:
    """The pixels that have two labels; see `compare_places`."""
    rows = (same[same["dataset"] == dataset], same[_are_wnids(same["wnid"])])
    counts = [group.groupby("pixels")["wnid"].nunique() for group in rows]
    return {str(pixels) for each in counts for pixels in each.index[each > 1]}


def summarise(
    inventory: Inventory,
    tally: Tally,
    classes: pd.DataFrame,
    columns: Mapping[str, npt.NDArray[Any]],
    same: pd.DataFrame,
    compared_with: Sequence[str],
    decoder: Mapping[str, str],
) -> dict[str, Any]:
    """All that an audit found, as data for JSON.

    columns: numbers of the readable images (bytes: of all) by name. compared_with: other data sets in `same`.
    """
    readable = sum(tally.images.values()) - sum(tally.unreadable.values())
    differing = classes[classes["difference"].fillna(0) != 0]
    summary: dict[str, Any] = {
        "dataset": inventory.dataset,
        "decoder": dict(decoder),
        "splits": {
            split: {
                "images": tally.images[split],
                "unreadable": tally.unreadable[split],
                "odd": tally.odd[split],
                "labelled": tally.labelled[split],
                "grey_pixels": tally.grey[split],
                f"shorter_side_below_{SMALL_PX}": tally.small[split],
                "reason": inventory.splits[split].reason,
            }
            for split in SPLITS
        },
        "kinds": {
            kind: {"meaning": meaning, **{split: tally.kinds[kind][split] for split in SPLITS}}
            for kind, meaning in {**KINDS, **COMMON_KINDS}.items()
            if kind in tally.kinds
        },
        "unreadable": {"by_reason": dict(tally.reasons.most_common(LISTED)), "first": tally.refused},
        "classes": {
            "count": len(classes),
            "per_class": {
                split: {name: _number(getattr(classes[split], name)()) for name in ("min", "median", "max")}
                for split in SPLITS
                if tally.labelled[split]
            },
            "devkit_knows_train_counts": bool(classes["devkit_train"].notna().any()),
            "differing_from_devkit": [
                {name: _number(row[name]) for name in ("wnid", "train", "devkit_train", "difference")}
                for row in differing.to_dict("records")
            ],
        },
        "quantiles": {"percent": list(QUANTILES), **{name: _quantiles(of) for name, of in columns.items()}},
        "colour": {
            "mean_of_image_means": [round(float(value), 3) for value in tally.sums / max(readable, 1)],
            "grey_pixels": sum(tally.grey.values()),
        },
        "same_pixels": {
            "compared_with": list(compared_with),
            "found": compare_places(same, inventory.dataset),
            "first": _first_groups(same, find_disagreeing(same, inventory.dataset)),
        },
    }
    return {**summary, "attention": list(_attention(summary))}


def _quantiles(values: npt.NDArray[Any]) -> list[float | int] | None:
    if not len(values):
        return None
    return [_number(value) for value in np.percentile(values, QUANTILES, method="nearest")]


def _number(value: Any) -> Any:
    """A plain number or text; whole numbers without a fraction."""
    if isinstance(value, str):
        return value
    number = round(float(value), 3)
    return int(number) if number.is_integer() else number


def _first_groups(same: pd.DataFrame, disagreeing: set[str]) -> list[dict[str, Any]]:
    """The first groups of images with the same pixels, those whose labels disagree before the others."""
    groups = []
    for pixels in sorted(same["pixels"].unique(), key=lambda pixels: (pixels not in disagreeing, pixels))[
        :LISTED
    ]:
        images = [
            {"image": f"{row['dataset']}/{row['split']}/{row['key']}", "wnid": row["wnid"]}
            for row in same[same["pixels"] == pixels].head(LISTED).to_dict("records")
        ]
        groups.append({"pixels": pixels, "labels_disagree": pixels in disagreeing, "images": images})
    return groups


def _attention(summary: Mapping[str, Any]) -> Iterator[str]:
    """What the user should know or do, a line each."""
    for split, counts in summary["splits"].items():
        if num := counts["unreadable"]:
            what = "left out by prepare" if split == "train" else "refused by prepare, with the data set"
            yield f"{_count(num, f'{split} image')} cannot be decoded: {what}"
    for kind in ("decoder_warned", "missing_scans"):
        if num := sum(summary["kinds"].get(kind, {}).get(split, 0) for split in SPLITS):
            yield f"{_count(num, 'image')} damaged, though decoded ({kind})"
    if differing := summary["classes"]["differing_from_devkit"]:
        names = _name([f"{row['wnid']} {row['difference']:+}" for row in differing])
        what = "another count of training images than the development kit"
        yield f"{_count(len(differing), 'class')} with {what}: {names}"
    for found in summary["same_pixels"]["found"]:
        first, second = found["places"]
        where = f"within {first}" if first == second else f"in both {first} and {second}"
        if _is_leak(first, second):
            yield f"{_count(found['pixels'], 'picture')} {where}"
        if num := found["labels_disagree"]:
            yield f"{_count(num, 'picture')} {where}, with other labels"


def _is_leak(first: str, second: str) -> bool:
    """Whether an image in both places is trained on and measured with, or measured with twice."""
    trained = [place.rpartition("/")[2] == "train" for place in (first, second)]
    return trained[0] != trained[1] or (first != second and second in SPLITS)


def _count(num: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{num:,} {noun if num == 1 else plural}"


def _name(items: Sequence[str]) -> str:
    return ", ".join(items[:NAMED]) + (", ..." if len(items) > NAMED else "")


def render(summary: Mapping[str, Any]) -> str:
    """The audit as text for a terminal; its last line says what needs attention."""
    parts = [
        _render_splits(summary),
        _render_kinds(summary),
        _render_sizes(summary),
        _render_colour(summary),
        _render_classes(summary),
        _render_same(summary),
        _render_attention(summary),
    ]
    return "\n".join(part for part in parts if part)


def _render_splits(summary: Mapping[str, Any]) -> str:
    small = f"shorter_side_below_{SMALL_PX}"
    rows = [["split", "images", "labelled", "unreadable", "odd", "grey", f"below {SMALL_PX} px", ""]]
    for split, counts in summary["splits"].items():
        numbers = [counts[name] for name in ("images", "labelled", "unreadable", "odd", "grey_pixels", small)]
        rows.append([split, *(f"{number:,}" for number in numbers), counts["reason"] or ""])
    return f"audit of {summary['dataset']}\n\n" + _align(rows)


def _render_kinds(summary: Mapping[str, Any]) -> str:
    rows = [["kind", *SPLITS, "what becomes of it"]]
    for kind, found in summary["kinds"].items():
        rows.append([kind, *(f"{found[split]:,}" for split in SPLITS), found["meaning"]])
    reasons = summary["unreadable"]["by_reason"]
    text = _align(rows) if len(rows) > 1 else "no odd kind of file\n"
    return text + "".join(f"  {num:,} x {reason}\n" for reason, num in list(reasons.items())[:10])


def _render_sizes(summary: Mapping[str, Any]) -> str:
    quantiles = summary["quantiles"]
    names = {0: "least", 50: "median", 100: "most"}
    rows = [["", *(names.get(percent, f"{percent}%") for percent in quantiles["percent"])]]
    for name, values in quantiles.items():
        if name != "percent" and values is not None:
            decimals = 1 if name in MEANS else 0
            rows.append([name.replace("_", " "), *(f"{value:,.{decimals}f}" for value in values)])
    return _align(rows)


def _render_colour(summary: Mapping[str, Any]) -> str:
    colour = summary["colour"]
    red, green, blue = colour["mean_of_image_means"]
    return f"mean colour {red:.1f}, {green:.1f}, {blue:.1f}; {_count(colour['grey_pixels'], 'image')} grey throughout\n"


def _render_classes(summary: Mapping[str, Any]) -> str:
    classes = summary["classes"]
    lines = [f"{classes['count']:,} classes"]
    for split, counts in classes["per_class"].items():
        lines.append(
            f"  {split}: {counts['min']:,} to {counts['max']:,} images each, median {counts['median']:,}"
        )
    if not classes["devkit_knows_train_counts"]:
        lines.append("  no development kit to hold the counts against")
    elif differing := classes["differing_from_devkit"]:
        lines.append(f"  {_count(len(differing), 'class')} not as in the development kit; see classes.csv")
    else:
        lines.append("  each has as many training images as the development kit says")
    return "\n".join(lines) + "\n"


def _render_same(summary: Mapping[str, Any]) -> str:
    same = summary["same_pixels"]
    others = ", ".join(same["compared_with"]) or "no other data set, as none was audited"
    if not same["found"]:
        return f"no two images have the same pixels (compared with {others})\n"
    rows = [["same pixels in", "pixels", "images", "labels disagree"]]
    for found in same["found"]:
        first, second = found["places"]
        where = f"{first} twice or more" if first == second else f"{first} and {second}"
        rows.append([where, *(f"{found[name]:,}" for name in ("pixels", "images", "labels_disagree"))])
    return _align(rows) + f"compared with {others}; same_pixels.csv lists them\n"


def _render_attention(summary: Mapping[str, Any]) -> str:
    lines = summary["attention"]
    if not lines:
        return f"{summary['dataset']}: nothing needs attention\n"
    verb = "needs" if len(lines) == 1 else "need"
    last = f"{summary['dataset']}: {_count(len(lines), 'finding')} {verb} attention\n"
    return "".join(f"- {line}\n" for line in lines) + last


def _align(rows: Iterable[Sequence[str]]) -> str:
    """Columns under each other: texts to the left, numbers to the right."""
    rows = list(rows)
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    is_text = [
        number in (0, len(columns) - 1) and not column[-1][:1].isdigit()
        for number, column in enumerate(columns)
    ]
    lines = []
    for row in rows:
        cells = zip(row, widths, is_text, strict=True)
        lines.append(
            "  ".join(
                f"{cell:<{width}}" if left else f"{cell:>{width}}" for cell, width, left in cells
            ).rstrip()
        )
    return "\n".join(lines) + "\n"


def _extremes_like(why: str, tally: Tally) -> list[list[float]]:
    """The values of an extreme and of its opposite."""
    column = EXTREMES[why][0]
    return [list(tally.extremes[name][column]) for name, (other, _) in EXTREMES.items() if other == column]


def choose_pictures(tally: Tally, same: pd.DataFrame, dataset: str) -> list[tuple[str, str, str]]:
    """Images for the sheet, as (why, split, key): a few of each odd kind and extreme, and of equal pixels."""
    chosen = [(kind, *place) for kind in KINDS for place in tally.examples.get(kind, [])]
    for why, rows in tally.extremes.items():
        if len({value for other in _extremes_like(why, tally) for value in other}) > 1:  # they do differ
            chosen += [(why, split, key) for split, key in zip(rows["split"], rows["key"], strict=True)]
    disagree = same[same["pixels"].isin(find_disagreeing(same, dataset))]
    own = disagree[disagree["dataset"] == dataset].head(EXAMPLES)
    return chosen + [
        ("labels disagree", split, key) for split, key in zip(own["split"], own["key"], strict=True)
    ]
