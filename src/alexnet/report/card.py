"""The card of a trained net, in Markdown: what it learned from and how, its errors, its limits, how to load it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alexnet.core.layers import FULL_CROP_PX, FULL_SIZE, NetworkParams, input_side, plan_layers
from alexnet.core.predictions import Predictions
from alexnet.core.protocol import ProtocolParams
from alexnet.data.shards import Manifest
from alexnet.data.tensor_names import StoredTensor
from alexnet.report.paper import TABLES, Mean
from alexnet.report.scores import Metric, View, score_mean, why_unscored

# What §5 and §4.1 say in numbers; the other switches stand under `protocols.paper` in params.yaml.
PAPER_RECIPE: Mapping[str, Any] = {
    "batch": 128, "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005, "epochs": 90, "crop": FULL_CROP_PX,
    "mirror": True, "colour_std": 0.1,
}  # fmt: skip
FULL_PARAMETERS = 60_965_224  # two columns, 1000 classes
SOURCES = {
    "ilsvrc": "the contest's official archives",
    "fall": "a release of ImageNet, one archive per synset",
    "tiny-imagenet": "Tiny ImageNet's zip",
    "generated": "images drawn by this project",
}
VIEWS: tuple[tuple[str, View], ...] = (("ten views", "ten"), ("centre view", "centre"))
METRICS: tuple[tuple[str, Metric], ...] = (("top-1", "top1_error"), ("top-5", "top5_error"))


@dataclass(frozen=True)
class CardFacts:
    """All that a card is written from.

    record: record.json of the training. manifest: of its data set, whose images are of a kind of source. paper: the
    protocol of the paper, as params.yaml has it. predictions: split -> of this net. history: the last row of
    history.csv. tensors, sha256: of the weights' file. start: the member it started from, or None.
    """

    member: str
    group: str
    variant: str
    protocol: str
    start: str | None
    kind: str
    record: Mapping[str, Any]
    manifest: Manifest
    paper: ProtocolParams
    predictions: Mapping[str, Predictions]
    history: Mapping[str, str]
    tensors: Sequence[StoredTensor]
    sha256: str
    confidence: float


def render(facts: CardFacts) -> str:
    """The card. Equal facts give equal text."""
    sections = (_head, _data, _training, _errors, _limits, _loading, _provenance)
    return "\n".join(line for section in sections for line in section(facts)).rstrip() + "\n"


def find_departures(protocol: Mapping[str, Any], paper: ProtocolParams) -> dict[str, tuple[Any, Any]]:
    """Where a protocol is not the paper's: switch -> its value and the paper's."""
    there = {**paper.model_dump(mode="json"), **PAPER_RECIPE}
    return {name: (value, there[name]) for name, value in protocol.items() if value != there.get(name)}


def _head(facts: CardFacts) -> Iterator[str]:
    classes = f"{facts.manifest.num_classes:,} classes"
    yield f"# {facts.member}"
    yield ""
    yield (
        f"A convolutional network after Krizhevsky, Sutskever and Hinton (2012), variant `{facts.variant}`, that sorts "
        f"images into the {classes} of `{facts.manifest.dataset}`. This card was written from the run that "
        "made it; every number is measured, none is quoted but where it says so."
    )
    if facts.kind == "generated":
        yield ""
        yield "**Its images were drawn by a program: its numbers prove the pipeline, not the paper.**"
    yield ""


def _data(facts: CardFacts) -> Iterator[str]:
    manifest = facts.manifest
    yield "## Data"
    yield ""
    yield f"`{manifest.dataset}`, {SOURCES.get(facts.kind, f'source {facts.kind}')}; {manifest.num_classes:,} classes."
    yield (
        f"Shorter side resized to {manifest.resize} pixels ({manifest.interpolation}), central square, "
        + (
            "kept as raw pixels."
            if manifest.store == "raw"
            else f"kept as JPEG of quality {manifest.quality}."
        )
    )
    yield ""
    yield from _table(
        ["split", "images", "left out: do not decode", "left out: val or test images elsewhere", "note"],
        [
            [split, f"{counts.count:,}", f"{len(counts.broken):,}", f"{len(counts.held_out):,}", counts.reason or ""]
            for split, counts in ((split, manifest.splits[split]) for split in ("train", "val", "test"))
        ],
    )  # fmt: skip
    yield ""


def _training(facts: CardFacts) -> Iterator[str]:
    record, protocol = facts.record, facts.record["protocol"]
    yield "## Training"
    yield ""
    start = "Started from random weights"
    if facts.start:
        layers = dict.fromkeys(name.split(".")[0] for name in record["copied_from_start"])
        start = f"Started from `{facts.start}`, of which it took {', '.join(layers) or 'nothing'}"
    last = facts.history
    yield (
        f"{start}; seed {record['seed']}, protocol `{facts.protocol}`, {last['epoch']} epochs of "
        f"{record['num_images']:,} images in minibatches of {protocol['batch']}. In the last epoch it was wrong on "
        f"{_percent(float(last['train_top1_error']))} % of the training crops, with dropout and noise."
    )
    yield ""
    departures = find_departures(protocol, facts.paper)
    yield (
        "Where the protocol is not the paper's (the paper's text, with our reading where it is silent):"
        if departures else "The protocol is the paper's, with our reading where its text is silent."
    )  # fmt: skip
    if departures:
        yield ""
        rows = [[f"`{name}`", _plain(own), _plain(paper)] for name, (own, paper) in departures.items()]
        yield from _table(["switch", "here", "paper"], rows)
    yield ""
    size = record["network"]["size"]
    if size != FULL_SIZE.model_dump(mode="json"):
        yield (
            f"The network is not the paper's in size: {size['width']:g} of its maps, {size['fc_width']:g} of its fully "
            f"connected units, in multiples of {size['multiple']}, conv1 {_plain(size['conv1'])}."
        )
        yield ""


def _errors(facts: CardFacts) -> Iterator[str]:
    papers = _papers_errors(facts.group)
    yield "## Errors"
    yield ""
    rows = []
    for split, predictions in facts.predictions.items():
        if reason := why_unscored(predictions):
            rows.append([split, "", "", "", reason, "", ""])
            continue
        for view_name, view in VIEWS:
            for metric_name, metric in METRICS:
                score = score_mean([predictions], metric, view, facts.confidence)
                assert score.value is not None and score.low is not None and score.high is not None
                paper = papers.get((split, view, metric))
                rows.append(
                    [
                        split, view_name, metric_name, _percent(score.value),
                        f"{_percent(score.low)} to {_percent(score.high)}", f"{score.n:,}",
                        "" if paper is None else _percent(paper),
                    ]
                )  # fmt: skip
    level = f"{100 * facts.confidence:g} % interval"
    yield from _table(["split", "views", "error", "%", level, "images", "paper, on its own images"], rows)
    yield ""
    yield (
        "Intervals are over images, of this one net: another seed gives another net, whose error may lie outside. "
        "Of equal probabilities the lower label counts as the better."
    )
    yield from _confidence_lines(facts)
    yield ""


def _confidence_lines(facts: CardFacts) -> Iterator[str]:
    """How sure the net is against how often it is right."""
    for split, predictions in facts.predictions.items():
        if why_unscored(predictions):
            continue
        labelled = predictions.labels >= 0
        sure = float(predictions.ten.top_probs[labelled, 0].astype(float).mean())
        right = float((predictions.ten.labels[labelled, 0] == predictions.labels[labelled]).mean())
        yield (
            f"On {split}, ten views, its best label has a probability of {_percent(sure)} % in the mean and is right "
            f"for {_percent(right)} % of the images."
        )


def _limits(facts: CardFacts) -> Iterator[str]:
    protocol = facts.record["protocol"]
    yield "## Limits"
    yield ""
    yield f"- It answers with one of its {facts.manifest.num_classes:,} classes, whatever the picture shows."
    yield "- It sees one size of picture, and only its central square; what lies outside is never looked at."
    yield "- Its probabilities are not calibrated: compare how sure it is with how often it is right, above."
    if facts.kind == "generated":
        yield "- It has seen drawn shapes only, and knows nothing of photographs."
    else:
        yield "- It carries what its images carry: mistaken labels, and what the set shows often or never."
    num_parameters = count_parameters(facts.record, facts.manifest.num_classes)
    if num_parameters != FULL_PARAMETERS:
        yield (
            f"- It has {num_parameters:,} parameters; the paper's net, of two columns and 1,000 classes, has "
            f"{FULL_PARAMETERS:,}. Its errors say nothing of that net's."
        )
    if protocol["schedule"]["kind"] == "plateau":
        yield "- The rate fell when the validation error stalled, so the error on val flatters it a little."
    yield "- One seed: nets of other seeds differ; the tables of the run say by how much."
    yield ""


def _loading(facts: CardFacts) -> Iterator[str]:
    network, protocol = _models(facts.record)
    crop, side = input_side(network, protocol, protocol.crop), facts.manifest.resize
    part = "the part under the crop" if protocol.mean_align == "under_crop" else "its central part"
    yield "## Loading"
    yield ""
    yield "`weights.safetensors` holds plain arrays; loading executes nothing. Any safetensors library reads it:"
    yield ""
    yield "    from safetensors.numpy import load_file"
    yield '    weights = load_file("weights.safetensors")'
    yield ""
    yield "and in this project a network comes out of it alone, its shape being in the metadata entry `alexnet`:"
    yield ""
    yield "    from pathlib import Path"
    yield "    from alexnet.data.weights import read_network"
    yield '    network, num_classes = read_network(Path("weights.safetensors"))'
    yield ""
    yield (
        f"Input: crops (N, 3, {crop}, {crop}) float32 of images of {side} x {side}, RGB from 0 to 255 less the mean "
        f"image of the training set (`mean_image.npy`, {part}). Output: logits (N, "
        f"{facts.manifest.num_classes}); label n is the n-th of the sorted wnids. `alexnet classify IMAGE --weights "
        "FILE` does all of it."
    )
    yield ""
    rows = [[f"`{tensor.name}`", " x ".join(map(str, tensor.shape)), tensor.dtype, f"{tensor.size:,}"]
            for tensor in facts.tensors]  # fmt: skip
    yield from _table(["tensor", "shape", "type", "values"], rows)
    yield ""


def _provenance(facts: CardFacts) -> Iterator[str]:
    machine = facts.record["machine"]
    yield "## Provenance"
    yield ""
    about = {
        "SHA-256 of weights.safetensors": f"`{facts.sha256}`",
        "device": machine.get("device"),
        "processes": f"{machine.get('processes', 1)}, {machine['mode']}" if machine.get("processes", 1) > 1 else None,
        "PyTorch": machine.get("torch"), "Python": machine.get("python"),
        "training took": f"{facts.record['seconds']:,} s",
        "decoder": ", ".join(f"{name} {version}" for name, version in sorted(facts.manifest.decoder.items())),
    }  # fmt: skip
    yield from _table(["what", ""], [[name, str(value)] for name, value in about.items() if value])


def count_parameters(record: Mapping[str, Any], num_classes: int) -> int:
    """Weights and biases of the network that a record of a training describes."""
    network, protocol = _models(record)
    return sum(layer.num_parameters for layer in plan_layers(network, protocol, num_classes, protocol.crop))


def _models(record: Mapping[str, Any]) -> tuple[NetworkParams, ProtocolParams]:
    return (
        NetworkParams.model_validate_json(json.dumps(record["network"])),
        ProtocolParams.model_validate_json(json.dumps(record["protocol"])),
    )


def _papers_errors(group: str) -> dict[tuple[str, str, str], float]:
    """The paper's figures for a single net of this group, by split, view and metric."""
    return {
        (figure.split, figure.source.view, figure.metric): figure.paper
        for table in TABLES.values()
        for figure in table.figures
        if isinstance(figure.source, Mean) and figure.source.group == group and figure.paper is not None
    }


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _plain(value: Any) -> str:
    """A switch's value as params.yaml has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
