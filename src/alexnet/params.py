"""The only reader of params.yaml: every key known, every value of its type and possible, before any work starts.

The front door, with cli.py: it computes nothing and holds no default, so it is no dependency of a stage's result.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from alexnet import paths
from alexnet.core.figure_params import NeighbourParams, ReluTanhParams
from alexnet.core.intervals import TableParams
from alexnet.core.layers import FULL_CROP_PX, FULL_SIZE, NetworkParams, input_side, join, plan_layers
from alexnet.core.protocol import PredictParams, ProtocolParams
from alexnet.core.resize import PrepareParams
from alexnet.data.sources import FallDataset, IlsvrcDataset
from alexnet.errors import UserError
from alexnet.schema import Params
from alexnet.unique_keys import UniqueKeyLoader

SCRATCH = "scratch"
DEFAULT = "default"  # the protocol that is whole
T = TypeVar("T", bound=Params)
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Datasets(Params):
    """Data sets that have a source: contests with their own splits, and releases with a declared one."""

    ilsvrc: dict[Name, IlsvrcDataset]
    fall: dict[Name, FallDataset]

    def names(self) -> list[str]:
        """All of them, in the order of the file."""
        return [*self.ilsvrc, *self.fall]


class MemberParams(Params):
    """One line of `members`."""

    group: str
    data: Name
    variant: Name
    protocol: Name
    overrides: dict[str, Any]
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]
    start: Name


class AblationParams(Params):
    """One entry of `ablations`: nets that differ from those of a group, a net for each seed, compared on a split."""

    base: str
    data: Name
    split: Literal["val", "test"]
    variant: Name
    protocol: Name
    overrides: dict[str, Any]
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=1 << 63)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_seeds(self) -> AblationParams:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must differ from each other")
        return self


class AllParams(Params):
    """params.yaml."""

    profile: str
    prepare: PrepareParams
    datasets: Datasets
    left_out: dict[Name, str]
    network: NetworkParams
    variants: dict[Name, dict[str, Any]]
    protocols: dict[Name, dict[str, Any]]
    members: dict[Name, MemberParams]
    ablations: dict[Name, AblationParams]
    relu_tanh: dict[Name, ReluTanhParams]
    neighbours: dict[Name, NeighbourParams]
    predict: PredictParams
    tables: TableParams

    def variant(self, name: str) -> NetworkParams:
        """The network of a variant: `network` with its differences."""
        joined = join(self.network.model_dump(mode="json"), self.variants[name])
        return _parse(NetworkParams, joined, f"variants.{name}, joined with network")

    def protocol(self, name: str) -> ProtocolParams:
        """A protocol: the default one with its differences."""
        joined = join(self.protocols[DEFAULT], {} if name == DEFAULT else self.protocols[name])
        return _parse(ProtocolParams, joined, f"protocols.{name}")

    def variant_of(self, name: str) -> NetworkParams:
        """The network of a variant asked for by name. Raises UserError if there is none."""
        _expect(name, self.variants, "variants")
        return self.variant(name)

    def protocol_named(self, name: str) -> ProtocolParams:
        """A protocol asked for by name. Raises UserError if there is none."""
        _expect(name, self.protocols, "protocols")
        return self.protocol(name)

    def network_of(self, member: str) -> NetworkParams:
        """The network a member trains."""
        return self.variant(self.members[member].variant)

    def protocol_of(self, member: str) -> ProtocolParams:
        """The protocol a member is trained by: the named one with its own overrides."""
        return self._override(self.members[member], f"members.{member}.overrides")

    def protocol_of_ablation(self, name: str) -> ProtocolParams:
        """The protocol an ablation's nets are trained by."""
        return self._override(self.ablations[name], f"ablations.{name}.overrides")

    def _override(self, line: MemberParams | AblationParams, where: str) -> ProtocolParams:
        joined = join(self.protocol(line.protocol).model_dump(mode="json"), line.overrides)
        return _parse(ProtocolParams, joined, where)


def at_full_size(
    network: NetworkParams, *protocols: ProtocolParams
) -> tuple[NetworkParams, tuple[ProtocolParams, ...]]:
    """The same at the paper's size: full width, the paper's conv1, crops of 224."""
    full = network.model_copy(update={"size": FULL_SIZE, "keep_gain": False})
    return full, tuple(protocol.model_copy(update={"crop": FULL_CROP_PX}) for protocol in protocols)


def load(path: Path = paths.PARAMS) -> AllParams:
    """All of params.yaml, checked. Raises UserError on the first mistake."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise UserError(
            str(path), "is missing", fix="Write it with `alexnet configure PROFILE`, in the project's folder."
        ) from None
    return check(_read(text, str(path)))


def check(data: object) -> AllParams:
    """All parameters from what params.yaml holds. Raises UserError on the first mistake."""
    params = _parse(AllParams, data, "")
    _expect(DEFAULT, params.protocols, "protocols")
    for name in (DEFAULT, *params.protocols):  # the others are differences from it
        params.protocol(name)
    for name in params.variants:
        params.variant(name)
    for name in params.members:
        _check_member(params, name)
    for name in params.ablations:
        _check_ablation(params, name)
    for name in params.relu_tanh:
        _expect(name, params.datasets.names(), f"relu_tanh.{name}", params.left_out.get(name, ""))
    for name in params.neighbours:
        _check_neighbours(params, name)
    return params


def dataset_of(params: AllParams, name: str) -> IlsvrcDataset | FallDataset:
    """A data set's section. Raises UserError if there is none."""
    _expect(name, params.datasets.names(), f"datasets, asked for {name}", params.left_out.get(name, ""))
    datasets = params.datasets
    return datasets.ilsvrc[name] if name in datasets.ilsvrc else datasets.fall[name]


def member_of(params: AllParams, name: str) -> MemberParams:
    """A member's line. Raises UserError if there is none."""
    _expect(name, params.members, f"members, asked for {name}")
    return params.members[name]


def ablation_of(params: AllParams, name: str) -> AblationParams:
    """An ablation's entry. Raises UserError if there is none."""
    _expect(name, params.ablations, f"ablations, asked for {name}")
    return params.ablations[name]


def relu_tanh_of(params: AllParams, dataset: str) -> ReluTanhParams:
    """How ReLU and tanh are compared on a data set. Raises UserError if they are not."""
    _expect(dataset, params.relu_tanh, f"relu_tanh, asked for {dataset}")
    return params.relu_tanh[dataset]


def neighbours_of(params: AllParams, member: str) -> NeighbourParams:
    """Which images of a member Figure 4 shows. Raises UserError if none."""
    _expect(member, params.neighbours, f"neighbours, asked for {member}")
    return params.neighbours[member]


def _read(text: str, where: str) -> object:
    try:
        return yaml.load(text, UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(
            f"{where}, line {line}", f"is no YAML: {error.problem}", fix="Mend that line."
        ) from None


def _check_member(params: AllParams, name: str) -> None:
    """What one line of `members` says of other sections must be there, and fit."""
    member, where = params.members[name], f"members.{name}"
    if name == SCRATCH:
        raise UserError(f"params.yaml: {where}", f"`{SCRATCH}` is no name for a member", fix="Rename it.")
    _expect(member.variant, params.variants, f"{where}.variant")
    _expect(member.protocol, params.protocols, f"{where}.protocol")
    _expect(member.data, params.datasets.names(), f"{where}.data", params.left_out.get(member.data, ""))
    if member.start != SCRATCH:
        _expect(member.start, [*params.members, SCRATCH], f"{where}.start")
    seen = [name]
    for start in _starts(params.members, name):
        if start in seen:
            raise UserError(
                f"params.yaml: {where}.start", "members start from each other", found=" <- ".join([*seen, start]),
                fix=f"Let one of them start from {SCRATCH}.",
            )  # fmt: skip
        seen.append(start)
    _check_fit(params, params.protocol_of(name), member, f"member {name}")


def _check_ablation(params: AllParams, name: str) -> None:
    """What an entry of `ablations` says of other sections must be there, and fit."""
    line, where = params.ablations[name], f"ablations.{name}"
    _expect(line.variant, params.variants, f"{where}.variant")
    _expect(line.protocol, params.protocols, f"{where}.protocol")
    _expect(line.data, params.datasets.names(), f"{where}.data", params.left_out.get(line.data, ""))
    _expect(
        line.base, list(dict.fromkeys(member.group for member in params.members.values())), f"{where}.base"
    )
    _check_fit(params, params.protocol_of_ablation(name), line, f"ablation {name}")


def _check_neighbours(params: AllParams, name: str) -> None:
    """The member must be there, and its data set the one named, by which the graph knows it."""
    _expect(name, params.members, f"neighbours.{name}")
    if params.neighbours[name].data != params.members[name].data:
        raise UserError(
            f"params.yaml: neighbours.{name}.data", "is not the member's data set", found=params.neighbours[name].data,
            expected=params.members[name].data, fix="Correct it.",
        )  # fmt: skip


def _check_fit(
    params: AllParams, protocol: ProtocolParams, line: MemberParams | AblationParams, what: str
) -> None:
    """Crop, network and prepared images must fit each other."""
    network = params.variant(line.variant)
    try:
        side = input_side(network, protocol, protocol.crop)
        plan_layers(network, protocol, 1000, protocol.crop)
    except ValueError as error:
        raise UserError(
            f"params.yaml: variants.{line.variant}", f"makes no network for crops of {protocol.crop}: {error}",
            fix="Change network.size or the layer's numbers.",
        ) from None  # fmt: skip
    if side > params.prepare.resize:
        raise UserError(
            f"params.yaml: protocols.{line.protocol}.crop", f"{what} crops more than there is",
            found=side, expected=f"at most prepare.resize, {params.prepare.resize}",
            fix="Lower crop, or raise prepare.resize.",
        )  # fmt: skip


def _starts(members: Mapping[str, MemberParams], name: str) -> Iterator[str]:
    """The members a member starts from, nearest first."""
    while (name := members[name].start) != SCRATCH and name in members:
        yield name


def _expect(name: str, known: Mapping[str, object] | list[str], where: str, reason: str = "") -> None:
    if name not in known:
        close = difflib.get_close_matches(name, list(known), 1)
        fix = f"Did you mean {close[0]}?" if close else "Add it, or name one of these."
        if reason:
            fix = f"It was left out: {reason}. Run `alexnet configure` with its --data, or remove the member."
        raise UserError(
            f"params.yaml: {where}", "names what does not exist", found=name, expected=f"one of {', '.join(known)}",
            fix=fix,
        )  # fmt: skip


def _parse(kind: type[T], data: object, where: str) -> T:
    try:
        return kind.model_validate_json(json.dumps(data))
    except (TypeError, ValueError) as error:
        if not isinstance(error, ValidationError):
            raise UserError("params.yaml", f"holds a value that is no plain data: {error}") from None
        raise _explain(error, data, where) from None


def _explain(error: ValidationError, data: object, where: str) -> UserError:
    """The mistake to mend first, in our words; an unknown key before the missing one it was meant to be."""
    mistakes = sorted(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
    mistake = mistakes[0]
    path = [*filter(None, [where]), *_path_in(data, mistake["loc"])]
    place = f"params.yaml: {'.'.join(path)}" if path else "params.yaml"
    more = f" ({len(mistakes) - 1} more after it)" if len(mistakes) > 1 else ""
    if mistake["type"] == "extra_forbidden":
        close = difflib.get_close_matches(path[-1], _known_keys(), 1)
        return UserError(
            place, f"unknown key{more}", fix=f"Did you mean {close[0]}?" if close else "Remove it."
        )
    if mistake["type"] == "missing":
        return UserError(place, f"is missing{more}", fix="Add it; configs/base.yaml says what it is.")
    message = mistake["msg"]
    for prefix in ("Input should be ", "Value error, "):
        message = message.removeprefix(prefix)
    expected = message if mistake["msg"].startswith("Input should be ") else None
    what = f"has a wrong value{more}" if expected else f"{message}{more}"
    found = json.dumps(mistake["input"])
    found = found if len(found) < 80 else found[:77] + "..."
    return UserError(
        place, what, found=found, expected=expected, fix="Correct it; configs/base.yaml has an example."
    )


def _path_in(data: Any, location: tuple[int | str, ...]) -> list[str]:
    """The keys of `location` that stand in the file; pydantic adds the names of alternatives."""
    path = []
    for step, key in enumerate(location):
        if isinstance(data, Mapping) and key in data:  # noqa: SIM114 (types: each container has its own key)
            data = data[key]
        elif isinstance(data, list) and isinstance(key, int):
            data = data[key]
        elif step != len(location) - 1 or key == "[key]":
            continue
        path.append(str(key))
    return path


def _known_keys() -> list[str]:
    """Every key of every section."""
    names: set[str] = set()
    kinds = [Params]
    while kinds:
        kind = kinds.pop()
        kinds.extend(kind.__subclasses__())
        names.update(kind.model_fields)
    return sorted(names)
