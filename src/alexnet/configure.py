"""Writes params.yaml from a profile and links the data it names."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from alexnet import params, paths
from alexnet.data import cifar10
from alexnet.data.sources import find_files
from alexnet.data.whole import write_whole
from alexnet.errors import UserError

CONFIGS = Path("configs")
BASE = CONFIGS / "base.yaml"
HEADER = """\
# Every knob of the reproduction, with its unit and where the paper speaks of it. Written by
# `alexnet configure {profile}` from configs/base.yaml{and_profile}; edit it as you like.
# What depends on the machine (threads, workers, devices) stands in machine.yaml instead.
"""
KINDS = ("ilsvrc", "fall")
ARCHIVES = {".tar", ".tgz", ".gz", ".zip"}
TINY_LIST = "wnids.txt"  # which no zip but Tiny ImageNet's holds
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"


def configure(profile: str, data: Mapping[str, str]) -> None:
    """Writes params.yaml from configs/PROFILE.yaml and links inputs/NAME to the PATH of each NAME in `data`.

    A data set that needs a PATH and has none is left out with its members, and with those that start from them.
    Raises UserError, with the earlier params.yaml and links as they were, if the profile or a PATH is wrong.
    """
    document = read_profile(profile)
    targets = {name: find_data(name, path) for name, path in data.items()}
    _expect_known(profile, document, targets)
    for name, target in targets.items():
        choose_kind(document, name, target)
    leave_out(document, set(targets))
    text = render(profile, document)
    checked = params.check(YAML(typ="safe").load(text))
    check_data(checked, targets)
    for name, target in targets.items():
        link(paths.input_link(name), target)
    write_whole(paths.PARAMS, text)
    remove_left_overs(checked)


def read_profile(profile: str) -> CommentedMap:
    """configs/base.yaml with the profile's differences, comments kept. Raises UserError if there is no such profile."""
    file = CONFIGS / f"{profile}.yaml"
    known = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path != BASE)
    if profile not in known:
        expected = ", ".join(known) or f"a file in {CONFIGS}/"
        fix = "Name one of these." if known else "Run it in the project's folder."
        raise UserError("alexnet configure", "no such profile", found=profile, expected=expected, fix=fix)
    document = _load(BASE)
    merge(document, _load(file))
    document["profile"] = profile
    return document


def merge(base: CommentedMap, differences: Mapping[str, Any]) -> None:
    """Changes `base` by `differences`: mappings are merged key by key, null removes a key, anything else replaces.

    A mapping with a key `kind` replaces as a whole, since each kind has keys of its own.
    """
    for key, value in differences.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(base.get(key), Mapping) and "kind" not in value:
            merge(base[key], value)
        else:
            base[key] = value


def find_data(name: str, path: str) -> Path:
    """PATH, absolute. Raises UserError if nothing is there, or an empty folder."""
    target = Path(path).expanduser().absolute()
    if not target.exists():
        raise UserError(
            f"--data {name}", "does not exist", found=path, expected="a folder, an archive or a folder of archives",
            fix="Correct the path.",
        )  # fmt: skip
    if target.is_dir() and not any(target.iterdir()):
        raise UserError(
            f"--data {name}", "is an empty folder", found=path, fix="Name the folder that holds the data."
        )
    return target


def choose_kind(document: CommentedMap, name: str, target: Path) -> None:
    """Makes the data sets that read inputs/NAME read what lies there, where that is not what the profile has in mind.

    That is CIFAR-10, or a folder per class: on the disk or in a zip, within `train` and other splits or, in place of a
    Fall release, without.
    """
    found = _find_kind(target)
    for dataset in _datasets(document):
        is_fall = "split" in dataset
        if found is None or _link_name(dataset) != name or not (found.has_splits or is_fall):
            continue
        dataset["source"] = _flow(
            {"kind": found.kind, "path": str(paths.input_link(name)), "md5": _flow(found.md5)}
        )
        if is_fall and found.has_splits:
            dataset["split"] = "as_archived"


@dataclass(frozen=True)
class _Found:
    """A kind of source, whether it brings splits of its own, and known sums of its files."""

    kind: str
    has_splits: bool
    md5: dict[str, str]


def _find_kind(target: Path) -> _Found | None:
    """What lies at a path, if that says itself: None for archives of ImageNet, and for what is none of ours."""
    if target.name == cifar10.ARCHIVE or (target / cifar10.ARCHIVE).is_file():
        return _Found("cifar10", True, {cifar10.ARCHIVE: CIFAR10_MD5})
    if any((target / folder / cifar10.NAMES).is_file() for folder in ("", cifar10.FOLDER)):
        return _Found("cifar10", True, {})
    if target.suffix == ".zip" and zipfile.is_zipfile(target):
        with zipfile.ZipFile(target) as archive:
            parts = [name.split("/") for name in archive.namelist()]
        if any(part[-1] == TINY_LIST for part in parts):
            return None
        return _Found("folder", any("train" in part[:2] for part in parts), {})
    if target.is_dir():
        has_archives = any(child.suffix in ARCHIVES for child in target.iterdir())
        if (target / "train").is_dir():
            return _Found("folder", True, {})
        if any(child.is_dir() for child in target.iterdir()) and not has_archives:
            return _Found("folder", False, {})
    return None


def check_data(checked: params.AllParams, targets: Mapping[str, Path]) -> None:
    """Raises UserError if a data set's files are not at its PATH."""
    for name in checked.datasets.names():
        dataset = params.dataset_of(checked, name)
        linked = _link_name(dataset.model_dump())
        if linked is not None:
            source = dataset.source.model_copy(update={"path": str(targets[linked])})
            find_files(name, dataset.model_copy(update={"source": source}), None)


def leave_out(document: CommentedMap, given: set[str]) -> None:
    """Removes data sets whose source was not given, and every member that needs one; says why in `left_out`."""
    reasons = dict(document["left_out"])  # a profile that removes a data set says why
    for kind in KINDS:
        for name, dataset in list(document["datasets"][kind].items()):
            needed = _link_name(dataset)
            if needed and needed not in given:
                reasons[name] = f"no source was given (--data {needed}=PATH)"
                del document["datasets"][kind][name]
    if not any(document["datasets"][kind] for kind in KINDS):
        expected = f"at least one of {', '.join(f'--data {name}=PATH' for name in reasons)}"
        raise UserError(
            "alexnet configure", "no data set has a source", expected=expected, fix="Say where one lies."
        )
    document["left_out"] = _flow(reasons)
    _remove_members(document["members"], set(reasons))
    _remove_ablations(document, set(reasons))
    for section, known in (("relu_tanh", _names(document["datasets"])), ("neighbours", document["members"])):
        for name in [name for name in document[section] if name not in known]:
            del document[section][name]


def _names(datasets: CommentedMap) -> list[str]:
    return [name for kind in KINDS for name in datasets[kind]]


def _remove_members(members: CommentedMap, left_out: set[str]) -> None:
    """Removes members of these data sets, then those that start from a removed one, until none does."""
    removed = {name for name, member in members.items() if member.get("data") in left_out}
    while removed:
        for name in removed:
            del members[name]
        removed = {name for name, member in members.items() if member.get("start") in removed}


def _remove_ablations(document: CommentedMap, left_out: set[str]) -> None:
    """Removes ablations of these data sets, and those that no member is left to compare with."""
    groups = {member["group"] for member in document["members"].values()}
    for name, line in list(document["ablations"].items()):
        if line["data"] in left_out or line["base"] not in groups:
            del document["ablations"][name]


def render(profile: str, document: CommentedMap) -> str:
    """The text of params.yaml."""
    output = io.StringIO()
    _yaml().dump(document, output)
    body = output.getvalue()
    while body.startswith("#"):
        body = body.partition("\n")[2]
    return HEADER.format(profile=profile, and_profile=f" and configs/{profile}.yaml") + body


def link(place: Path, target: Path) -> None:
    """Makes `place` a link to `target`, in one step. Raises UserError if something else than a link is there."""
    if place.exists() and not place.is_symlink():
        raise UserError(
            str(place), "is no link", fix="Move it away; `alexnet configure` lays the links in inputs/."
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    temporary.symlink_to(target)
    os.replace(temporary, place)


def remove_left_overs(checked: params.AllParams) -> None:
    """Removes what earlier parameters made in the folders that stages read as a whole.

    These are the held-out images of other data sets, predictions of members that are gone or moved, and what entries
    that are gone of ablations, relu_tanh and neighbours made.
    """
    for file in paths.HELD_OUT.glob("*.parquet"):
        if file.stem not in checked.datasets.ilsvrc:
            file.unlink()
    for folder in paths.PREDICTIONS.glob("*/*/"):
        member = checked.members.get(folder.name)
        if folder.is_dir() and (member is None or member.data != folder.parent.name):
            shutil.rmtree(folder)
    for room, known in (
        (paths.ABLATIONS, checked.ablations),
        (paths.RELU_TANH, checked.relu_tanh),
        (paths.NEIGHBOURS, checked.neighbours),
    ):
        for folder in room.glob("*/"):
            if folder.is_dir() and folder.name not in known:
                shutil.rmtree(folder)


def _expect_known(profile: str, document: CommentedMap, targets: Mapping[str, Path]) -> None:
    known = dict.fromkeys(filter(None, map(_link_name, _datasets(document))))
    for name in targets:
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else f"no --data: profile {profile} needs none"
            raise UserError("--data", f"profile {profile} has no use for it", found=name, expected=expected)


def _datasets(document: CommentedMap) -> Iterator[CommentedMap]:
    for kind in KINDS:
        yield from document["datasets"][kind].values()


def _link_name(dataset: Mapping[str, Any]) -> str | None:
    """NAME if a data set reads inputs/NAME, None if it needs nothing from outside."""
    path = Path(dataset["source"]["path"])
    return path.name if path.parent == paths.INPUTS else None


def _flow(values: Mapping[str, Any]) -> CommentedMap:
    mapping = CommentedMap(values)
    mapping.fa.set_flow_style()
    return mapping


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000
    return yaml


def _load(file: Path) -> CommentedMap:
    try:
        document = _yaml().load(file)
    except YAMLError as error:
        raise UserError(
            str(file), f"is no YAML: {getattr(error, 'problem', error)}", fix="Mend it."
        ) from None
    if document is None:  # comments alone
        return CommentedMap()
    if not isinstance(document, CommentedMap):
        raise UserError(
            str(file), "is no mapping", found=type(document).__name__, fix="Write `key: value` lines."
        )
    return document
