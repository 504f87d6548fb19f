"""What changed between two states of a run: parameters, verdicts and every number, with its significance."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import yaml

from alexnet.core.intervals import interval_over_images
from alexnet.core.statistics import Effect, Seeds, p_value
from alexnet.data.revisions import Snapshot
from alexnet.errors import UserError

PARAMS, CLAIMS = "params.yaml", "claims.csv"
ROUNDING = 1e-9  # results are written with six decimals
CONFIDENCE = 0.95  # of stored intervals, where params.yaml does not say
MANY = 10**6  # images, where their number is not stored: their t is then a normal


Interval = tuple[float, float] | None
BOUNDS = ("ci_low", "ci_high")
METRICS = ("top1_error", "top5_error")
NAMES = (
    "id", "name", "model", "ensemble", "weights", "member", "protocol", "part", "switch", "base", "data", "dataset",
    "split", "metric", "activation", "seed", "epoch",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A value that is not what it was; None where there was or is none."""

    where: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class NumberChange:
    """A number that moved by more than the tolerance, appeared or went.

    intervals: stored about it, before and after, where there are any. p_value: the chance of so large a change between
    two independent runs alike; None if it cannot be said, for the reason `untested`. is_bound: of another's interval.
    """

    where: str
    before: float | None
    after: float | None
    intervals: tuple[Interval, Interval] = (None, None)
    p_value: float | None = None
    untested: str | None = None
    is_bound: bool = False


@dataclass(frozen=True)
class Comparison:
    """All that changed. verdicts: of claims in both. notes: what could not be compared.

    num_numbers: in both; num_within: of these, those within the tolerance without being equal; num_tested: those that
    changed and could be tested.
    """

    before: str
    after: str
    tolerance: float
    confidence: float
    verdicts: list[Change]
    params: list[Change]
    numbers: list[NumberChange]
    words: list[Change]
    notes: list[str]
    num_numbers: int
    num_within: int

    def is_significant(self, number: NumberChange) -> bool:
        """Whether a number differs by more than chance explains."""
        return number.p_value is not None and number.p_value < 1 - self.confidence


@dataclass(frozen=True)
class _Number:
    """A number with what is known of its spread.

    interval: None if it has none. seeds, images: what that is over. error: its standard error over images, where that
    is stored instead. is_ratio: its logarithm is what spreads evenly.
    """

    value: float
    interval: Interval = None
    seeds: int | None = None
    images: int | None = None
    error: float | None = None
    is_ratio: bool = False


Rows = Sequence[Mapping[str, str]]
Cells = dict[tuple[str, str], "_Number | str"]  # by row, which JSON has none of, and column


def compare(before: Snapshot, after: Snapshot, tolerance: float) -> Comparison:
    """What changed from `before` to `after`; numbers that moved by no more than `tolerance` count as unchanged.

    Raises UserError if a file cannot be read as what it is.
    """
    notes = list(_files_apart(before, after))
    confidences = {_confidence(before), _confidence(after)}
    if len(confidences) > 1:
        notes.append("intervals are of different confidence, so no number is tested")
    confidence = min(confidences)
    verdicts: list[Change] = []
    numbers: list[NumberChange] = []
    words: list[Change] = []
    num_numbers = num_within = 0
    for name in sorted(set(before.files) & set(after.files) - {PARAMS}):
        cells, others = _read_cells(name, before, after, confidence)
        shared = {row for row, _ in cells} & {row for row, _ in others}
        notes += _rows_apart(name, before.name, cells, after.name, others)
        for place in dict.fromkeys([*cells, *others]):
            old, new, where = cells.get(place), others.get(place), f"{name}: {', '.join(filter(None, place))}"
            if place[0] not in shared:
                continue
            if isinstance(old, _Number) and isinstance(new, _Number):
                num_numbers += 1
                if old.value == new.value:
                    continue
                if abs(new.value - old.value) <= tolerance + ROUNDING:
                    num_within += 1
                    continue
                tested = _test(old, new, confidence) if len(confidences) == 1 else "different confidence"
                numbers.append(_number_change(where, old, new, tested, is_bound=place[1] in BOUNDS))
            elif isinstance(old, _Number) and new is None:
                numbers.append(_number_change(where, old, None, "gone", is_bound=place[1] in BOUNDS))
            elif isinstance(new, _Number) and old is None:
                numbers.append(_number_change(where, None, new, "new", is_bound=place[1] in BOUNDS))
            elif _text(old) != _text(new):
                change = Change(where, _text(old), _text(new))
                is_verdict = name.endswith(CLAIMS) and place[1] == "verdict" and None not in (old, new)
                (verdicts if is_verdict else words).append(change)
    params = _compare_params(before, after)
    return Comparison(
        before.name, after.name, tolerance, confidence, verdicts, params, numbers, words, notes, num_numbers,
        num_within,
    )  # fmt: skip


def to_json(comparison: Comparison) -> str:
    """The comparison as JSON; each number with `significant`, None where it could not be tested."""
    about = asdict(comparison)
    for entry, number in zip(about["numbers"], comparison.numbers, strict=True):
        is_tested = number.p_value is not None
        entry["significant"] = comparison.is_significant(number) if is_tested else None
    return json.dumps(about, indent=1, ensure_ascii=False) + "\n"


def render(comparison: Comparison, *, with_words: bool) -> str:
    """The comparison as text. with_words: also the cells of tables that are no numbers, such as reasons."""
    lines = [f"from {comparison.before}", f"to   {comparison.after}"]
    lines += [f"note: {note}" for note in comparison.notes]
    lines += ["", f"Verdicts that changed: {len(comparison.verdicts)}"]
    lines += _align([_words(change) for change in comparison.verdicts])
    lines += ["", f"Parameters that changed: {len(comparison.params)}"]
    lines += _align([_words(change) for change in comparison.params])
    lines += _number_lines(comparison)
    if with_words:
        lines += ["", f"Other cells that changed: {len(comparison.words)}"]
        lines += _align([_words(change) for change in comparison.words])
    elif comparison.words:
        lines += ["", f"Other cells that changed: {len(comparison.words)} (--words lists them)"]
    return "\n".join(lines) + "\n"


def _number_lines(comparison: Comparison) -> list[str]:
    """The numbers with their intervals, whose bounds have no line of their own."""
    numbers = [number for number in comparison.numbers if not number.is_bound]
    tested = [number for number in numbers if number.p_value is not None]
    significant = sum(map(comparison.is_significant, tested))
    level = 1 - comparison.confidence
    beyond = f" by more than {comparison.tolerance:g}" if comparison.tolerance else ""
    lines = [
        "",
        f"Numbers that changed{beyond}: {len(comparison.numbers)} of {comparison.num_numbers} in both",
    ]
    if comparison.num_within:
        lines[-1] += f", and {comparison.num_within} by less"
    if num_bounds := len(comparison.numbers) - len(numbers):
        lines[-1] += f"; {num_bounds} of them bounds of intervals, shown with what they are about"
    if tested:
        lines.append(
            f"tested: {len(tested)}; significant at {level:.2g}, marked *: {significant} "
            f"(by chance alone about {level * len(tested):.1f} would be)"
        )
    rows = [_cells(number, is_marked=comparison.is_significant(number)) for number in numbers]
    return [*lines, *_align([["", "before", "after", "change", "p"], *rows] if rows else [])]


def _files_apart(before: Snapshot, after: Snapshot) -> Iterator[str]:
    for here, there in ((before, after), (after, before)):
        for name in sorted(set(here.files) - set(there.files)):
            yield f"{there.name} has no {name}"
    if not set(before.files) & set(after.files):
        yield "they have no file in common"


def _rows_apart(name: str, before: str, cells: Cells, after: str, others: Cells) -> Iterator[str]:
    old, new = (dict.fromkeys(row for row, _ in each) for each in (cells, others))
    if gone := [row for row in old if row not in new]:
        yield f"{name}: {after} has no row for {'; '.join(gone)}"
    if come := [row for row in new if row not in old]:
        yield f"{name}: {before} has no row for {'; '.join(come)}"


def _confidence(snapshot: Snapshot) -> float:
    params = _load_yaml(snapshot)
    tables = params.get("tables") if isinstance(params, dict) else None
    stored = tables.get("confidence") if isinstance(tables, dict) else None
    return float(stored) if isinstance(stored, float) else CONFIDENCE


def _load_yaml(snapshot: Snapshot) -> Any:
    try:
        return yaml.safe_load(snapshot.files.get(PARAMS, ""))
    except yaml.YAMLError as error:
        raise UserError(f"{PARAMS} of {snapshot.name}", f"is no YAML: {_first_line(error)}") from None


def _compare_params(before: Snapshot, after: Snapshot) -> list[Change]:
    old, new = (dict(_flatten(_load_yaml(snapshot))) for snapshot in (before, after))
    keys = dict.fromkeys([*old, *new])
    if PARAMS not in before.files or PARAMS not in after.files:
        return []
    changed = [key for key in keys if old.get(key) != new.get(key)]
    return [Change(key, old.get(key), new.get(key)) for key in changed]


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each leaf of nested mappings as its dotted path and its value in JSON; a list is a leaf."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flatten(inner, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, json.dumps(value, ensure_ascii=False, default=str)


def _read_cells(name: str, before: Snapshot, after: Snapshot, confidence: float) -> tuple[Cells, Cells]:
    """The cells of a file in both states, by where they stand."""
    if name.endswith(".json"):
        return _read_json(name, before, confidence), _read_json(name, after, confidence)
    (columns, old), (others, new) = _read_csv(name, before), _read_csv(name, after)
    keys = _find_keys([column for column in columns if column in others], old, new)
    return _index(old, keys), _index(new, keys)


def _read_json(name: str, snapshot: Snapshot, confidence: float) -> Cells:
    """The leaves of a JSON file. A `difference` has its `standard_error` beside it, errors of a split its `images`."""
    try:
        nested = json.loads(snapshot.files[name])
    except ValueError as broken:
        raise UserError(f"{name} of {snapshot.name}", f"is no JSON: {broken}") from None
    leaves = dict(_flatten(nested))
    cells: Cells = {}
    for path, text in leaves.items():
        number = _parse(text)
        if number is None:
            cells["", path] = text
            continue
        stem, _, last = path.rpartition(".")
        error = _parse(leaves.get(f"{stem}.standard_error", "")) if last == "difference" else None
        images = _parse(leaves.get(f"{stem.rpartition('.')[0]}.images", "")) if last in METRICS else None
        interval = None
        if images and 0 <= number <= 1:
            interval = interval_over_images(round(number * images), int(images), confidence)
        cells["", path] = _Number(number, interval, error=error)
    return cells


def _read_csv(name: str, snapshot: Snapshot) -> tuple[list[str], Rows]:
    """Columns and rows."""
    reader = csv.DictReader(io.StringIO(snapshot.files[name]), restkey="?", restval="")
    rows = list(reader)
    if any("?" in row for row in rows):
        raise UserError(f"{name} of {snapshot.name}", "has a row with more fields than columns")
    return list(reader.fieldnames or []), rows


def _find_keys(columns: Sequence[str], *tables: Rows) -> list[str]:
    """The columns that name a row: those known to, else the fewest leading ones that tell the rows apart."""
    named = [column for column in columns if column in NAMES]
    for keys in (named, *(columns[:number] for number in range(1, len(columns)))):
        if keys and all(len({_key(row, keys) for row in rows}) == len(rows) for rows in tables):
            return list(keys)
    return list(columns)


def _key(row: Mapping[str, str], keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(row[key] for key in keys)


def _index(rows: Rows, keys: Sequence[str]) -> Cells:
    """The cells of a table by row and column. An interval is about the number in the column before it."""
    cells: Cells = {}
    for row in rows:
        label = " ".join(filter(None, _key(row, keys)))
        cells[label, ""] = ""  # the row is there, though all its cells may be empty
        columns = list(row)
        subject = columns[columns.index("ci_low") - 1] if "ci_low" in columns[1:] else None
        for column, text in row.items():
            if column in keys or text == "":
                continue
            number = _parse(text)
            if number is None:
                cells[label, column] = text
            else:
                shift = 0.0 if column == subject else _shift(column, subject, row)
                cells[label, column] = (
                    _Number(number) if shift is None else _with_interval(number, row, shift)
                )
    return cells


def _shift(column: str, subject: str | None, row: Mapping[str, str]) -> float | None:
    """How far a column lies from the one with the interval, if it is that less the paper's; None if it is not."""
    paper = _parse(row.get("paper", ""))
    return -paper if (column, subject) == ("difference", "value") and paper is not None else None


def _with_interval(value: float, row: Mapping[str, str], shift: float) -> _Number:
    low, high = _parse(row.get("ci_low", "")), _parse(row.get("ci_high", ""))
    if low is None or high is None:
        return _Number(value)
    seeds, images = _count(row.get("seeds", "")), _count(row.get("images", ""))
    if "ci_over" in row:
        number = _count(row.get("n", ""))
        seeds, images = (number, None) if row["ci_over"] == "seeds" else (None, number)
    return _Number(value, (low + shift, high + shift), seeds, images, is_ratio=row.get("kind") == "ratio")


def _count(text: str) -> int | None:
    number = _parse(text)
    return None if number is None else int(number)


def _parse(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _test(old: _Number, new: _Number, confidence: float) -> float | str:
    """The p-value of the difference of two numbers, or why there is none.

    Their standard errors come from their intervals, by Student's t if these are over seeds, by the normal if over
    images; where an interval is over both, whichever gives the larger p. Both runs are taken as independent, which is
    cautious where they share images or seeds.
    """
    if old.is_ratio != new.is_ratio:
        return "one is a ratio"
    if old.is_ratio:
        first, second = _log(old), _log(new)
        if first is None or second is None:
            return "a ratio that is not above 0"
        old, new = first, second
    p_values = []
    for over_seeds in (True, False):
        parts = [_spread(number, confidence, over_seeds=over_seeds) for number in (old, new)]
        if parts[0] is None or parts[1] is None:
            return "no interval"
        seeds = tuple(part for part in parts if isinstance(part, Seeds))
        image = sum(part for part in parts if isinstance(part, float))
        effect = Effect(new.value - old.value, seeds, image * MANY, MANY)
        p_values.append(p_value(effect))
    known = [each for each in p_values if each is not None]
    return max(known) if len(known) == len(p_values) else "no spread"


def _spread(number: _Number, confidence: float, *, over_seeds: bool) -> Seeds | float | None:
    """A number's variance, with its seeds if it is over seeds, or None if it has no interval."""
    from scipy.special import ndtri, stdtrit

    if number.error is not None:
        return number.error**2
    if number.interval is None:
        return None
    half, tail = (number.interval[1] - number.interval[0]) / 2, (1 + confidence) / 2
    has_seeds = number.seeds is not None and number.seeds > 1
    if has_seeds and (over_seeds or number.images is None):
        seeds = number.seeds or 0
        variance = (half / float(stdtrit(seeds - 1, tail))) ** 2
        return Seeds(seeds, variance * seeds, 0.0)
    return (half / float(ndtri(tail))) ** 2


def _log(number: _Number) -> _Number | None:
    """The logarithm of a ratio with its interval; None where it has none."""
    low, high = number.interval or (1.0, 1.0)
    if min(number.value, low, high) <= 0:
        return None
    interval = (math.log(low), math.log(high)) if number.interval else None
    return replace(number, value=math.log(number.value), interval=interval)


def _number_change(
    where: str, old: _Number | None, new: _Number | None, tested: float | str, *, is_bound: bool
) -> NumberChange:
    p, why = (tested, None) if isinstance(tested, float) else (None, tested)
    before, after = old.value if old else None, new.value if new else None
    intervals = (old.interval if old else None, new.interval if new else None)
    return NumberChange(where, before, after, intervals, p, why, is_bound)


def _text(cell: _Number | str | None) -> str | None:
    return f"{cell.value:g}" if isinstance(cell, _Number) else cell


def _words(change: Change) -> list[str]:
    return [change.where, "-" if change.before is None else change.before, "->", change.after or "-"]


def _cells(number: NumberChange, *, is_marked: bool) -> list[str]:
    moved = ""
    if number.before is not None and number.after is not None:
        moved = f"{number.after - number.before:+.6g}"
    mark = " *" if is_marked else ""
    p_text = f"{number.p_value:.2g}{mark}" if number.p_value is not None else number.untested or ""
    values = zip((number.before, number.after), number.intervals, strict=True)
    return [number.where, *(_figure(value, interval) for value, interval in values), moved, p_text]


def _figure(value: float | None, interval: Interval) -> str:
    if value is None:
        return "-"
    bounds = f" ({interval[0]:.6g} to {interval[1]:.6g})" if interval else ""
    return f"{value:.6g}{bounds}"


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
