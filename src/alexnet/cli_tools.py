"""The commands that are no stages: they use what the stages made, and the graph needs none of them."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet import paths
from alexnet.errors import UserError
from alexnet.times import time_stage

if TYPE_CHECKING:
    from alexnet.machine import Plan
    from alexnet.params import AllParams

Devices = Callable[[str, "Plan"], AbstractContextManager[Any]]
Add = Callable[[str, Callable[[argparse.Namespace], int | None], str], argparse.ArgumentParser]

CONFIDENCE = 0.95  # of intervals, where no params.yaml says another
SPLITS = 10  # halvings of the validation images, with --weights search


def register(add: Add, devices: Devices, pin_threads: Callable[[int], None]) -> None:
    """Adds the commands.

    add: takes a name, what runs, and a line of help, and returns the command's parser. devices, pin_threads: how a
    command claims what it computes on, and fixes its threads before PyTorch is imported.
    """
    tables = add("tables", _tables, "compute every table again from a folder of predictions alone")
    tables.add_argument(
        "--predictions", required=True, metavar="FOLDER", help="laid out as DATASET/MEMBER/SPLIT.parquet"
    )
    tables.add_argument(
        "--group", action="append", default=[], metavar="GROUP=MEMBER,...",
        help="the members of a group, in order; with it params.yaml is not read, which otherwise says who is in which",
    )  # fmt: skip
    tables.add_argument(
        "--members", action="append", nargs="+", default=[], metavar="MEMBER,...",
        help="an ensemble of these members besides those of the tables; may be given more than once",
    )  # fmt: skip
    tables.add_argument(
        "--weights", choices=("equal", "search"), default="equal",
        help="search: weights as searched on val in 2012 too, with what the search promises and keeps",
    )  # fmt: skip
    tables.add_argument(
        "--splits", type=int, default=SPLITS, metavar="N", help=f"halvings of val with search ({SPLITS})"
    )
    tables.add_argument("--output", metavar="FOLDER", help="write CSV files there instead of printing")

    submission = add(
        "submission", _submission, "write predictions for ILSVRC's contest: five devkit ids a line"
    )
    submission.add_argument(
        "members", nargs="+", metavar="MEMBER", help="a member with predictions, or several: their average"
    )
    submission.add_argument("--output", required=True, metavar="FILE", help="the file to write")
    submission.add_argument("--dataset", default="ilsvrc2012", help="a prepared contest (ilsvrc2012)")
    submission.add_argument("--split", choices=("val", "test"), default="test", help="(test)")
    submission.add_argument(
        "--predictions", default=str(paths.PREDICTIONS), metavar="FOLDER", help=f"({paths.PREDICTIONS})"
    )

    compare = add("compare", _compare, "say what changed between two commits: parameters, verdicts, numbers")
    compare.set_defaults(mistake_code=2)
    compare.epilog = (
        "Exit code: 1 if the verdict on a claim changed, 2 on a mistake in what was asked, else 0. A number is tested "
        "by the intervals stored beside it, the runs taken as independent: cautious where they share images or seeds."
    )
    compare.add_argument("revision", metavar="REV", help="a git revision: a commit, tag or branch")
    compare.add_argument("other", metavar="REV", nargs="?", help="another; the working tree if left out")
    compare.add_argument(
        "--tolerance", type=float, default=0.0, metavar="X",
        help="numbers that moved by no more count as unchanged (0); errors are fractions",
    )  # fmt: skip
    compare.add_argument("--words", action="store_true", help="list changed cells that are no numbers too")
    compare.add_argument("--json", action="store_true", help="as JSON")

    classify = add("classify", _classify, "name what is in images: five labels with probabilities")
    classify.set_defaults(pin_threads=pin_threads)
    classify.add_argument("images", nargs="+", metavar="IMAGE", help="an image file")
    nets = classify.add_mutually_exclusive_group()
    nets.add_argument("--member", help="a member of params.yaml; the first that is trained if none is named")
    nets.add_argument(
        "--ensemble", metavar="GROUP,...", help="the average of all members of these groups, such as cnn,cnn*"
    )
    classify.add_argument(
        "--weights", metavar="FILE", help="weights from elsewhere, of a net trained on the member's data set"
    )
    classify.add_argument("--json", action="store_true", help="as JSON")

    similar = add("similar", _similar, "find the training images nearest to an image, by features of fc7")
    similar.set_defaults(pin_threads=pin_threads, devices=devices)
    similar.add_argument("image", metavar="IMAGE", help="an image file")
    similar.add_argument(
        "--member", help="a member of params.yaml; the first that is trained if none is named"
    )
    similar.add_argument("--count", type=int, default=6, metavar="N", help="how many (6)")
    similar.add_argument("--sheet", metavar="FILE", help="write a PNG of them too")

    card = add(
        "card", _card, "write the card of a trained net: data, protocol, errors, limits, how to load it"
    )
    card.add_argument("member", nargs="?", help="a member of params.yaml; all of them if left out")
    card.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="the file; without a member the folder, for MEMBER.md of each",
    )


def _tables(options: argparse.Namespace) -> None:
    from alexnet.stages import offline_tables

    _expect_count("--splits", options.splits)
    folder = Path(options.predictions)
    groups, left_out, confidence = _groups(options.group)
    subsets = [_names("--members", item) for items in options.members for item in items]
    splits = options.splits if options.weights == "search" else 0
    made = offline_tables.run(folder, offline_tables.Wanted(groups, subsets, left_out, confidence, splits))
    if options.output:
        offline_tables.write(made, Path(options.output))
    else:
        print(offline_tables.render(made), end="")


def _submission(options: argparse.Namespace) -> None:
    from alexnet.stages import submission

    data = paths.data_folder(options.dataset)
    print(
        submission.run(
            options.members, options.split, options.dataset, Path(options.predictions), data, Path(options.output)
        )
    )  # fmt: skip


def _compare(options: argparse.Namespace) -> int:
    from alexnet.report.compare import render, to_json
    from alexnet.stages import compare

    found = compare.run(options.revision, options.other, options.tolerance)
    print(to_json(found) if options.json else render(found, with_words=options.words), end="")
    return 1 if found.verdicts else 0


def _classify(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.machine import plan_prediction, read_machine, usable_gpus

    loaded, machine = params.load(), read_machine()
    names = _find_ensemble(loaded, options.ensemble) if options.ensemble else [_find_member(loaded, options)]
    if options.weights and options.ensemble:
        raise UserError("--weights", "is one net's, so no ensemble's", fix="Say --member, or leave it out.")
    plan = plan_prediction(machine, len(usable_gpus()))
    options.pin_threads(machine.threads)
    from alexnet.data.nets import NetFiles
    from alexnet.report.guesses import render, to_json
    from alexnet.stages import classify

    data = loaded.members[names[0]].data
    nets = [NetFiles(name, paths.weights_file(name), paths.stats_folder(data)) for name in names]
    if options.weights:
        nets = [NetFiles(options.weights, Path(options.weights), paths.stats_folder(data))]
    guesses = classify.run(
        [Path(image) for image in options.images], nets, paths.data_folder(data), loaded.predict.batch,
        device_name=plan.device, threads=machine.threads,
    )  # fmt: skip
    if options.json:
        print(to_json(guesses), end="")
        return
    is_plain = "utf" not in (sys.stdout.encoding or "").lower()
    print(render(guesses, shutil.get_terminal_size().columns, is_plain=is_plain), end="")


def _similar(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.data.kept_features import hash_inputs, open_kept
    from alexnet.data.photographs import read_squares
    from alexnet.data.shards import load_manifest
    from alexnet.machine import plan_prediction, read_machine, usable_gpus

    _expect_count("--count", options.count)
    loaded, machine = params.load(), read_machine()
    name = _find_member(loaded, options)
    data, weights = loaded.members[name].data, paths.weights_file(name)
    stats, kept = paths.stats_folder(data), paths.features_file(name)
    read_squares(
        [Path(options.image)], load_manifest(paths.data_folder(data))
    )  # before anyone waits for a device
    key = hash_inputs(weights, paths.data_folder(data), stats)
    plan = plan_prediction(machine, len(usable_gpus()))
    is_long = open_kept(kept, key) is None
    with options.devices(f"similar {name}", plan) if is_long else contextlib.nullcontext():
        options.pin_threads(machine.threads)
        from alexnet.data.nets import NetFiles
        from alexnet.stages import similar

        found = similar.run(
            Path(options.image), NetFiles(name, weights, stats), paths.data_folder(data), similar.Kept(kept, key),
            options.count, Path(options.sheet) if options.sheet else None, batch=loaded.predict.batch,
            device_name=plan.device, threads=machine.threads, readers=machine.readers,
        )  # fmt: skip
    print(similar.render(found), end="")


def _card(options: argparse.Namespace) -> None:
    from alexnet import params

    loaded, output = params.load(), Path(options.output)
    if options.member:
        params.member_of(loaded, options.member)
        _write_cards(loaded, {options.member: output})
        return
    with time_stage("cards"):
        _write_cards(loaded, {name: output / f"{name}.md" for name in loaded.members})


def _write_cards(loaded: AllParams, wanted: dict[str, Path]) -> None:
    """The card of each of these members, in the file named for it."""
    from alexnet import params
    from alexnet.stages import card

    paper = loaded.protocol_named("paper")
    for name, file in wanted.items():
        line = loaded.members[name]
        kind = params.dataset_of(loaded, line.data).source.kind
        start = None if line.start == params.SCRATCH else line.start
        inputs = card.CardInputs(
            paths.weights_file(name), paths.record_file(name), paths.history_file(name), paths.PREDICTIONS,
            paths.data_folder(line.data),
        )  # fmt: skip
        about = card.Line(line.group, line.data, kind, line.variant, line.protocol, start)
        card.run(name, about, paper, loaded.tables.confidence, inputs, file)


def _find_member(loaded: AllParams, options: argparse.Namespace) -> str:
    """The member that is named, or the first that is trained, or with --weights the first."""
    from alexnet import params

    if options.member:
        params.member_of(loaded, options.member)
        return str(options.member)
    is_free = bool(getattr(options, "weights", None))
    for name in loaded.members:
        if is_free or paths.weights_file(name).is_file():
            return name
    raise UserError(
        "alexnet", "no member is trained", expected="weights in work/models/MEMBER",
        fix="Build them, say with `dvc repro`, or fetch them.",
    )  # fmt: skip


def _find_ensemble(loaded: AllParams, groups: str) -> list[str]:
    """The members of some groups, which must be of one data set."""
    known = dict.fromkeys(line.group for line in loaded.members.values())
    wanted = _names("--ensemble", groups)
    for group in wanted:
        if group not in known:
            raise UserError(
                "--ensemble", "no member is of this group", found=group, expected=f"one of {', '.join(known)}"
            )
    names = [name for group in wanted for name, line in loaded.members.items() if line.group == group]
    if len({loaded.members[name].data for name in names}) > 1:
        raise UserError(
            "--ensemble", "these are trained on different data sets", found=groups, fix="Name one group."
        )
    return names


def _groups(given: list[str]) -> tuple[dict[str, str], dict[str, str], float]:
    """Member -> group, what was left out and the confidence of intervals: as given, else as params.yaml says."""
    groups: dict[str, str] = {}
    for item in given:
        group, sign, members = item.partition("=")
        if not (group and sign):
            raise UserError(
                "--group", "is not of the form GROUP=MEMBER,...", found=item, fix="Say --group cnn=cnn1,cnn2."
            )
        for name in _names("--group", members):
            if name in groups:
                raise UserError("--group", "names a member twice", found=name, fix="Leave it in one group.")
            groups[name] = group
    if groups or not paths.PARAMS.is_file():
        return groups, {}, CONFIDENCE
    from alexnet import params

    loaded = params.load()
    lines = {name: line.group for name, line in loaded.members.items()}
    return lines, dict(loaded.left_out), loaded.tables.confidence


def _names(where: str, text: str) -> list[str]:
    names = text.split(",")
    if not all(names):
        raise UserError(
            where, "is no list of members", found=repr(text), fix="Separate names by commas alone."
        )
    return names


def _expect_count(where: str, value: int) -> None:
    if value < 1:
        raise UserError(where, "is too small", found=value, expected="1 or more")
