"""The report page from what the other stages made."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from alexnet.core.layers import FULL_CROP_PX, FULL_SIZE, NetworkParams, plan_layers
from alexnet.core.protocol import ProtocolParams
from alexnet.data.shards import Manifest, load_manifest
from alexnet.data.tensor_names import hash_file
from alexnet.data.whole import write_whole
from alexnet.errors import UserError
from alexnet.report import page
from alexnet.report.ablations import ABLATION_COLUMNS, PROTOCOL_COLUMNS
from alexnet.report.claims import COLUMNS as CLAIM_COLUMNS
from alexnet.report.comparisons import AblationLine, NetLine
from alexnet.report.page_curves import Nets
from alexnet.report.page_data import Audit, DataSet, read_audit
from alexnet.report.page_figures import NAMES, Picture, make_picture
from alexnet.report.page_origin import Hash, Net, StageTime, read_net, read_pins, read_time
from alexnet.report.page_tables import describe_change
from alexnet.report.tables import COLUMNS as TABLE_COLUMNS
from alexnet.report.tables import METRIC_NAMES
from alexnet.report.verdicts import VERDICTS

TABLES = ("table1", "table2", "fall2009")
TEXTS = (
    "id", "section", "claim", "kind", "scope", "verdict", "reason", "model", "split", "metric", "ci_over", "name",
    "base", "data", "protocol", "part", "switch", "default", "setting", "ablation",
)  # fmt: skip
COUNTS = ("seeds", "images", "n")
HISTORY_COLUMNS = ("epoch", "train_top1_error", "val_top1_error")
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError)
T = TypeVar("T")


@dataclass(frozen=True)
class Inputs:
    """Files and folders that the page is made of.

    results: of the tables. audits, times: may be missing. captions: of the figures. params, claims, pins: the files
    whose text or hash is shown; pins, requirements.txt, may be missing.
    """

    results: Path
    figures: Path
    captions: Path
    data: Path
    models: Path
    ablations: Path
    predictions: Path
    audits: Path
    times: Path
    params: Path
    claims: Path
    pins: Path


@dataclass(frozen=True)
class Lines:
    """What params.yaml says. kinds: data set -> kind of its source. networks: member -> its network and protocol.
    protocols: each whole."""

    profile: str
    confidence: float
    members: Mapping[str, NetLine]
    ablations: Mapping[str, AblationLine]
    kinds: Mapping[str, str]
    left_out: Mapping[str, str]
    networks: Mapping[str, tuple[NetworkParams, ProtocolParams]]
    protocols: Mapping[str, ProtocolParams]


def run(lines: Lines, inputs: Inputs, output: Path) -> None:
    """Writes the page, whole. Equal inputs give equal bytes, but for the section of times.

    Raises UserError if a result is missing, or anything damaged. What a run need not have (ablations, audits, times,
    the weights and records of nets) may be missing: the page says so.
    """
    write_whole(output, page.render(collect(lines, inputs)))


def collect(lines: Lines, inputs: Inputs) -> page.PageData:
    """All that the page is written from, read."""
    datasets = [DataSet(name, kind, _read_manifest(inputs.data / name)) for name, kind in lines.kinds.items()]
    records = dict(_read_records(lines, inputs))
    return page.PageData(
        profile=lines.profile,
        confidence=lines.confidence,
        datasets=datasets,
        left_out=lines.left_out,
        num_members=len(lines.members),
        sizes=_measure_sizes(lines, datasets),
        claims=_read_claims(inputs.results / "claims.csv"),
        tables={
            name: _read_table(inputs.results / f"{name}.csv", TABLE_COLUMNS, f"dvc repro {name}")
            for name in TABLES
        },
        ablations=_read_ablations(inputs.results / "ablations.csv", lines.ablations),
        lines=lines.ablations,
        gaps=_read_table(inputs.results / "protocols.csv", PROTOCOL_COLUMNS, "dvc repro claims"),
        protocols=lines.protocols,
        pictures=_read_pictures(inputs),
        curves=list(_gather_curves(lines, inputs)),
        audits=_read_audits(inputs.audits, lines.kinds),
        nets=[net for net in records.values() if net],
        unrecorded=[name for name, net in records.items() if net is None],
        pins=read_pins(inputs.pins.read_text()) if inputs.pins.is_file() else [],
        hashes=list(_hash_files(lines, inputs)),
        times=_read_times(inputs.times),
        params_text=_read_text(inputs.params, "Write it with `alexnet configure PROFILE`."),
    )


def _read_table(path: Path, columns: Sequence[str], command: str) -> pd.DataFrame:
    """A table that another stage wrote. Raises UserError if it is missing or lacks a column."""
    kinds: dict[str, Any] = {name: str for name in columns if name in TEXTS}
    kinds |= {name: "Int64" for name in columns if name in COUNTS}
    kinds |= {name: "float64" for name in columns if name not in kinds}
    try:
        frame = pd.read_csv(path, dtype=kinds, na_values=[""], keep_default_na=False)
    except FileNotFoundError:
        raise UserError(str(path), "is missing", fix=f"Build it: {command}.") from None
    except (OSError, ValueError) as error:
        raise _damaged(path, error, f"Build it again: {command}.") from None
    if missing := [name for name in columns if name not in frame]:
        raise UserError(str(path), f"has no column {missing[0]}", fix=f"Build it again: {command}.")
    if "metric" in frame and (unknown := set(frame.metric.dropna()) - set(METRIC_NAMES)):
        raise UserError(
            str(path), "has a metric that is none", found=min(unknown), expected=f"one of {', '.join(METRIC_NAMES)}",
            fix=f"Build it again: {command}.",
        )  # fmt: skip
    return frame


def _read_claims(path: Path) -> pd.DataFrame:
    frame = _read_table(path, CLAIM_COLUMNS, "dvc repro claims")
    if unknown := set(frame.verdict.dropna()) - set(VERDICTS):
        raise UserError(
            str(path), "has a verdict that is none", found=min(unknown), expected=f"one of {', '.join(VERDICTS)}",
            fix="Build it again: dvc repro claims.",
        )  # fmt: skip
    if frame[["verdict", "reason", "claim", "kind", "section"]].isna().any(axis=None):
        raise UserError(
            str(path), "has an empty cell where there is none", fix="Build it again: dvc repro claims."
        )
    return frame


def _read_ablations(path: Path, lines: Mapping[str, AblationLine]) -> pd.DataFrame:
    frame = _read_table(path, ABLATION_COLUMNS, "dvc repro claims")
    if unknown := [name for name in frame.name if name not in lines]:
        raise UserError(
            str(path), "is of other parameters: params.yaml has no such ablation", found=unknown[0],
            fix="Build it again: dvc repro claims.",
        )  # fmt: skip
    return frame


def _read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a prepared data set; None if nothing was prepared."""
    return load_manifest(folder) if (folder / "manifest.json").exists() else None


def _read_records(lines: Lines, inputs: Inputs) -> Iterator[tuple[str, Net | None]]:
    """Each net by its name: members, then those of ablations; None for one without a record."""
    for name in lines.members:
        yield name, _read_net(inputs.models / name, "", f"Train {name} again.")
    for name, line in lines.ablations.items():
        for seed in line.seeds:
            fix = f"Run `alexnet ablate {name}` again."
            yield f"{name}-{seed}", _read_net(inputs.ablations / name / str(seed), name, fix)


def _read_net(folder: Path, ablation: str, fix: str) -> Net | None:
    path = folder / "record.json"
    return _parse(path, functools.partial(read_net, of=ablation), fix) if path.exists() else None


def _measure_sizes(lines: Lines, datasets: Sequence[DataSet]) -> list[page.NetSize]:
    """Each network once for each number of classes; those of data that is not prepared have none."""
    classes = {dataset.name: dataset.manifest.num_classes for dataset in datasets if dataset.manifest}
    sizes: dict[page.NetSize, None] = {}
    for name, line in lines.members.items():
        if line.data not in classes:
            continue
        network, protocol = lines.networks[name]
        layers = plan_layers(network, protocol, classes[line.data], protocol.crop)
        is_full = network.size == FULL_SIZE and protocol.crop == FULL_CROP_PX
        size = page.NetSize(
            line.variant, sum(layer.num_parameters for layer in layers), protocol.crop, is_full
        )
        sizes[size] = None
    return list(sizes)


def _read_pictures(inputs: Inputs) -> list[Picture]:
    """The four figures. Raises UserError if a file of them is missing."""
    fix = "Build them: dvc repro figures."
    pictures = []
    for name in NAMES:
        wide, narrow = (inputs.figures / f"{name}{end}" for end in (".svg", "_narrow.svg"))
        caption = _read_text(inputs.captions / f"{name}.rst", "It is kept in git.")
        for path in (wide, narrow):
            if not path.is_file():
                raise UserError(str(path), "is missing", fix=fix)
        make = functools.partial(
            make_picture, name, caption=caption, wide=wide.read_bytes(), narrow=narrow.read_bytes()
        )
        pictures.append(_parse(inputs.figures / "figures.json", make, fix))
    return pictures


def _gather_curves(lines: Lines, inputs: Inputs) -> Iterator[Nets]:
    """The histories of each group of members, then those of each ablation beside its base's nets of the same seeds."""
    own = {name: _read_history(inputs.models / name / "history.csv") for name in lines.members}
    groups: dict[tuple[str, str], list[str]] = {}
    for name, line in lines.members.items():
        groups.setdefault((line.group, line.data), []).append(name)
    for (group, data), names in groups.items():
        histories = {name: history for name in names if (history := own[name]) is not None}
        if histories:
            yield Nets(f"{group} on {data}", _describe_nets(names), histories, {})
    for name, entry in lines.ablations.items():
        paths = {
            f"{name}-{seed}": inputs.ablations / name / str(seed) / "history.csv" for seed in entry.seeds
        }
        made = {net: history for net, path in paths.items() if (history := _read_history(path)) is not None}
        base = {
            member: history
            for member in groups.get((entry.base, entry.data), [])
            if lines.members[member].seed in entry.seeds and (history := own[member]) is not None
        }
        if made:
            yield Nets(f"ablation {name}", f"Nets of {entry.base} with {describe_change(entry)}.", made, base)


def _describe_nets(names: Sequence[str]) -> str:
    return f"{', '.join(names)}."


def _read_history(path: Path) -> pd.DataFrame | None:
    """A row per epoch, or None if there is no such file."""
    if not path.exists():
        return None
    try:
        return pd.read_csv(path, usecols=list(HISTORY_COLUMNS), dtype="float64")
    except (OSError, ValueError) as error:
        raise _damaged(path, error, "Train it again.") from None


def _read_audits(folder: Path, kinds: Mapping[str, str]) -> list[Audit]:
    """What audits found, in the order of params.yaml; of data sets that are not in it, nothing."""
    paths = {name: folder / name / "audit.json" for name in kinds}
    return [
        _parse(path, read_audit, f"Run `alexnet audit {name}` again.")
        for name, path in paths.items() if path.exists()
    ]  # fmt: skip


def _read_times(folder: Path) -> list[StageTime]:
    """The time of each stage that left one."""
    return [_parse(path, read_time, "Delete it.") for path in sorted(folder.glob("[!.]*.json"))]


def _hash_files(lines: Lines, inputs: Inputs) -> Iterator[Hash]:
    """Parameters, claims, and of each net what it is and what it predicts."""
    paths = [inputs.params, inputs.claims, inputs.pins]
    for name, line in lines.members.items():
        paths.append(inputs.models / name / "weights.safetensors")
        paths += [inputs.predictions / line.data / name / f"{split}.parquet" for split in ("val", "test")]
    for ablation, entry in lines.ablations.items():
        for seed in entry.seeds:
            folder = inputs.ablations / ablation / str(seed)
            paths += [folder / "weights.safetensors", folder / f"{entry.split}.parquet"]
    for path in paths:
        if path.is_file():
            yield Hash(path.as_posix(), path.stat().st_size, hash_file(path))


def _parse(path: Path, parser: Callable[[Any], T], fix: str) -> T:
    """What `parser` makes of a JSON file. Raises UserError if it is missing or damaged."""
    try:
        return parser(json.loads(path.read_text()))
    except FileNotFoundError:
        raise UserError(str(path), "is missing", fix=fix) from None
    except DAMAGE as error:
        raise _damaged(path, error, fix) from None


def _read_text(path: Path, fix: str) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise UserError(str(path), "is missing", fix=fix) from None
    except (OSError, ValueError) as error:
        raise _damaged(path, error, fix) from None


def _damaged(path: Path, error: Exception, fix: str) -> UserError:
    return UserError(str(path), "is damaged", found=repr(error), fix=fix)
