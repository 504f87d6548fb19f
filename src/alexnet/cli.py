"""The command `alexnet`: parses arguments, loads parameters, calls one stage."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet import cli_tools, paths
from alexnet.errors import UserError
from alexnet.launch import joined, launch, report
from alexnet.times import time_stage

if TYPE_CHECKING:
    from alexnet.leases import Lease
    from alexnet.machine import Plan
    from alexnet.params import AllParams

Command = Callable[[argparse.Namespace], int | None]

TABLES = ("table1", "table2", "fall2009")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; a user's mistake is one line on standard error and 1, or what the
    command says in `mistake_code`.
    """
    options = _parser().parse_args(arguments)
    try:
        with _timed(options):
            return options.command(options) or 0
    except UserError as error:
        report(f"error: {error}")
        return int(getattr(options, "mistake_code", 1))
    except KeyboardInterrupt:
        return 130


def _timed(options: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    """Notes how long a stage takes that computes on no leased device."""
    is_stage = hasattr(options, "stage") and not getattr(options, "show", False)
    return time_stage(options.stage.format(**vars(options))) if is_stage else contextlib.nullcontext()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alexnet",
        description="From ImageNet's archives to the tables of Krizhevsky et al. (2012), stage by stage.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str, *, stage: str | None = None) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command, **({"stage": stage} if stage else {}))
        return added

    configure = add("configure", _configure, "write params.yaml from a profile and link the data")
    configure.add_argument("profile", help="a file of configs/, such as demo, tiny-imagenet or imagenet")
    configure.add_argument(
        "--data", action="append", default=[], metavar="NAME=PATH",
        help="where a data set's archives lie: a folder, an archive or a folder of archives",
    )  # fmt: skip
    add("check", _check, "check params.yaml and claims.yaml")
    for name, command, text in (
        ("source", _source, "find a data set's images: archives checked and indexed, or generated"),
        ("prepare", _prepare, "resize a data set's images and write them as shards"),
        ("rgb-pca", _rgb_pca, "compute a data set's mean image and RGB PCA"),
    ):
        stage = add(name, command, text, stage=f"{name} {{dataset}}")
        stage.add_argument("dataset", help="a data set of params.yaml")
    audit = add(
        "audit",
        _audit,
        "read data sets' images and report what is odd, broken, there twice or missing",
    )
    audit.add_argument(
        "datasets",
        nargs="*",
        metavar="dataset",
        help="data sets of params.yaml; all of them if none is named",
    )
    add("train", _train, "train a member").add_argument("member", help="a member of params.yaml")
    ablate = add("ablate", _ablate, "train and predict the nets of an ablation")
    ablate.add_argument("ablation", help="an entry of `ablations` in params.yaml")
    ablate.add_argument(
        "--seed", type=int, help=argparse.SUPPRESS
    )  # of the net that these processes train together
    predict = add("predict", _predict, "predict images with a member: ten views and the centre view")
    predict.add_argument("member", help="a member of params.yaml")
    predict.add_argument("split", nargs="?", choices=("val", "test"), help="both if none is named")
    predict.add_argument(
        "--features",
        metavar="FILE",
        help="write the features of fc7 too, an array (images, units) in .npy format",
    )
    table = add("table", _table, "write one of the paper's tables, ours beside it", stage="table {table}")
    table.add_argument("table", choices=TABLES)
    table.add_argument(
        "--show", action="store_true", help="print the table as it is in results/, in percent, instead"
    )
    describe = add(
        "describe", _describe, "print a network's layers and how its protocol differs from another"
    )
    describe.add_argument("--protocol", default="default", help="a protocol of params.yaml")
    describe.add_argument("--against", default="default", help="the protocol to compare it with")
    describe.add_argument("--variant", default="two_columns", help="a variant of params.yaml")
    describe.add_argument("--classes", type=int, default=1000, help="units of the last layer")
    describe.add_argument(
        "--full", action="store_true", help="at the paper's size, whatever network.size says"
    )
    describe.add_argument("--json", action="store_true", help="as JSON")
    doctor = add(
        "doctor",
        _doctor,
        "say whether training a member here waits for images or for the device, and what to do",
    )
    doctor.add_argument("member", help="a member of params.yaml")
    doctor.add_argument("--seconds", type=float, default=10, help="of each of four measurements")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    relu_tanh = add(
        "relu-tanh", _relu_tanh, "train the four-layer net with ReLU and with tanh until 25%% training error"
    )
    relu_tanh.add_argument("dataset", help="an entry of `relu_tanh` in params.yaml")
    neighbours = add(
        "neighbours", _neighbours, "find the training images nearest to some test images, by features of fc7"
    )
    neighbours.add_argument("member", help="an entry of `neighbours` in params.yaml")
    add("figures", _figures, "draw the paper's four figures from what was made", stage="figures")
    claims = add(
        "claims",
        _claims,
        "judge each claim of the paper; say what each ablation and switch is worth",
        stage="claims",
    )
    claims.add_argument(
        "--show", action="store_true", help="print the verdicts as they are in results/, in percent, instead"
    )
    claims.add_argument(
        "--brief", action="store_true", help="with --show: those alone that were judged, briefly"
    )
    add("metrics", _metrics, "collect every number into results/metrics.json", stage="metrics")
    add(
        "report",
        _report,
        f"write {paths.REPORT}: verdicts, tables, figures and where they come from, in one page",
    )
    cli_tools.register(add, _devices, _pin_threads)
    return parser


def _configure(options: argparse.Namespace) -> None:
    from alexnet.configure import configure

    data: dict[str, str] = {}
    for item in options.data:
        name, sign, path = item.partition("=")
        if not (name and sign and path):
            raise UserError(
                "--data", "is not of the form NAME=PATH", found=item, fix="Say --data ilsvrc2012=FOLDER."
            )
        data[name] = path
    configure(options.profile, data)


def _check(_: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.data.whole import write_whole
    from alexnet.stages.claims import read_claims

    params.load()
    read_claims(paths.CLAIMS)
    write_whole(paths.CHECKED, "params.yaml is in order\n")


def _source(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.stages import source

    source.run(
        options.dataset,
        params.dataset_of(params.load(), options.dataset),
        paths.source_folder(options.dataset),
    )


def _audit(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.machine import read_machine
    from alexnet.stages import audit

    loaded = params.load()
    datasets = {}
    for name in options.datasets or loaded.datasets.names():
        params.dataset_of(loaded, name)
        datasets[name] = audit.Folders(
            paths.source_folder(name), paths.AUDITS, paths.unfinished_audit_folder(name)
        )
    with contextlib.nullcontext() if options.datasets else time_stage("audit"):  # which looks at all of them
        print(audit.run_all(datasets, workers=read_machine().workers), end="")


def _prepare(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.machine import read_machine
    from alexnet.stages import prepare

    loaded, name = params.load(), options.dataset
    params.dataset_of(loaded, name)
    is_fall = name in loaded.datasets.fall
    prepare.run(
        name,
        loaded.prepare,
        prepare.Folders(
            paths.source_folder(name),
            paths.data_folder(name),
            paths.unfinished_folder(name),
            held_out=None if is_fall else paths.held_out_file(name),
            excluded=paths.HELD_OUT if is_fall else None,
        ),
        workers=read_machine().workers,
    )


def _rgb_pca(options: argparse.Namespace) -> None:
    from alexnet.machine import read_machine
    from alexnet.stages import rgb_pca

    rgb_pca.run(
        paths.data_folder(options.dataset),
        paths.stats_folder(options.dataset),
        threads=read_machine().workers,
    )


def _train(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.machine import plan_training, read_machine, usable_gpus

    loaded, machine = params.load(), read_machine()
    name = options.member
    member, network = params.member_of(loaded, name), loaded.network_of(name)
    plan = plan_training(machine, len(usable_gpus()), network.columns, joined())
    with _timed_devices(f"train {name}", plan) as leased:
        if plan.processes > 1 and joined() is None:
            if code := launch(["train", name], plan.processes, leased.cores):
                sys.exit(code)
            return
        _pin_threads(machine.threads)
        from alexnet.stages import train

        train.run(
            name,
            member.seed,
            network,
            loaded.protocol_of(name),
            train.TrainInputs(
                paths.data_folder(member.data),
                paths.stats_folder(member.data),
                paths.weights_file(member.start),
            ),
            train.TrainOutputs(paths.weights_file(name), paths.record_file(name), paths.history_file(name)),
            paths.CHECKPOINTS,
            train.Setup(
                plan.device,
                machine.threads,
                plan.mode,
                machine.compile,
                machine.channels_last,
                machine.readers,
            ),
        )


def _ablate(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.machine import plan_training, read_machine, usable_gpus

    loaded, machine, name = params.load(), read_machine(), options.ablation
    line = params.ablation_of(loaded, name)
    plan = plan_training(machine, len(usable_gpus()), loaded.variant(line.variant).columns, joined())
    with _timed_devices(f"ablate {name}", plan) as leased:
        _pin_threads(machine.threads)
        from alexnet.ablation import Ablation

        ablation = Ablation(name, loaded, machine, plan)
        if joined() is not None:
            ablation.train(options.seed)
        elif code := ablation.run(leased.cores):
            sys.exit(code)


@contextlib.contextmanager
def _timed_devices(stage: str, plan: Plan) -> Iterator[Lease]:
    """The devices of a stage, and how long it takes once it has them."""
    device = (
        plan.device if plan.processes == 1 else f"{plan.device}, {plan.processes} processes ({plan.mode})"
    )
    timed = time_stage(stage, device) if joined() is None else contextlib.nullcontext()
    with _devices(stage, plan) as leased, timed:
        yield leased


@contextlib.contextmanager
def _devices(what: str, plan: Plan) -> Iterator[Lease]:
    """The devices of a plan, leased unless who started this process did so."""
    from alexnet.leases import Lease, lease

    if joined() is not None:
        yield Lease()
        return
    for note in plan.notes:
        print(f"{what}: {note}", file=sys.stderr)
    with lease(plan) as leased:
        yield leased


def _predict(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.machine import plan_prediction, read_machine, usable_gpus

    loaded, machine = params.load(), read_machine()
    data = params.member_of(loaded, options.member).data
    plan = plan_prediction(machine, len(usable_gpus()))
    splits = (options.split,) if options.split else ("val", "test")
    if options.features and not options.split:
        raise UserError(
            "--features", "is one split's", fix="Name it: alexnet predict MEMBER SPLIT --features FILE."
        )
    stage = f"predict {options.member}" + (f" {options.split}" if options.split else "")
    with _timed_devices(stage, plan):
        _pin_threads(machine.threads)
        from alexnet.stages import predict

        for split in splits:
            predict.run(
                options.member,
                split,
                loaded.predict,
                data,
                paths.data_folder(data),
                paths.stats_folder(data),
                paths.weights_file(options.member),
                paths.predictions_file(data, options.member, split),
                device_name=plan.device,
                threads=machine.threads,
                readers=machine.readers,
                features=Path(options.features) if options.features else None,
            )


def _table(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.stages import table

    output = paths.table_file(options.table)
    if options.show:
        print(table.render(output), end="")
        return
    loaded = params.load()
    table.run(options.table, loaded.members, loaded.left_out, loaded.tables, paths.PREDICTIONS, output)


def _describe(options: argparse.Namespace) -> None:
    import json

    from alexnet import params
    from alexnet.report.description import describe, render

    if options.classes < 1:
        raise UserError("--classes", "is no number of classes", found=options.classes, expected="1 or more")
    loaded = params.load()
    network = loaded.variant_of(options.variant)
    protocol, other = loaded.protocol_named(options.protocol), loaded.protocol_named(options.against)
    if options.full:
        network, (protocol, other) = params.at_full_size(network, protocol, other)
    try:
        described = describe(network, protocol, options.classes, other)
    except ValueError as error:
        raise UserError("alexnet describe", f"no such network: {error}", fix="Change the variant.") from None
    if options.json:
        print(json.dumps(described, indent=1))
        return
    title = f"variant {options.variant}, protocol {options.protocol}, {options.classes:,} classes"
    print(render(described, title, (options.protocol, options.against)), end="")


def _relu_tanh(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.machine import plan_prediction, read_machine, usable_gpus

    name, machine = options.dataset, read_machine()
    line = params.relu_tanh_of(params.load(), name)
    plan = plan_prediction(machine, len(usable_gpus()))  # small: on one device, as a prediction
    with _timed_devices(f"relu-tanh {name}", plan):
        _pin_threads(machine.threads)
        from alexnet.stages import relu_tanh

        relu_tanh.run(
            name,
            line,
            paths.data_folder(name),
            paths.stats_folder(name),
            paths.relu_tanh_folder(name),
            device_name=plan.device,
            threads=machine.threads,
            readers=machine.readers,
        )


def _neighbours(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.machine import plan_prediction, read_machine, usable_gpus

    loaded, machine, member = params.load(), read_machine(), options.member
    line = params.neighbours_of(loaded, member)
    plan = plan_prediction(machine, len(usable_gpus()))
    with _timed_devices(f"neighbours {member}", plan):
        _pin_threads(machine.threads)
        from alexnet.stages import neighbours

        neighbours.run(
            member,
            line,
            loaded.predict.batch,
            paths.data_folder(line.data),
            paths.stats_folder(line.data),
            paths.weights_file(member),
            paths.neighbours_folder(member),
            device_name=plan.device,
            threads=machine.threads,
            readers=machine.readers,
        )


def _first_relu_tanh(loaded: AllParams) -> Path:
    """What Figure 1 shows and the claim on ReLU goes by: the first entry of `relu_tanh`, or a folder with nothing."""
    return paths.relu_tanh_folder(next(iter(loaded.relu_tanh), ""))


def _figures(_: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.stages import figures

    loaded = params.load()
    figures.run(
        figures.Lines(loaded.members, tuple(loaded.neighbours), loaded.left_out),
        figures.Inputs(_first_relu_tanh(loaded), paths.NEIGHBOURS, paths.MODELS, paths.PREDICTIONS),
        paths.FIGURES,
    )


def _claims(options: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.core.layers import FULL_CROP_PX, FULL_SIZE
    from alexnet.stages import claims

    output = paths.table_file("claims")
    if options.show:
        print(claims.render(output, is_brief=options.brief), end="")
        return
    loaded = params.load()
    is_full_size = loaded.network.size == FULL_SIZE and loaded.protocol(params.DEFAULT).crop == FULL_CROP_PX
    lines = claims.Lines(
        loaded.members,
        loaded.ablations,
        loaded.protocols,
        loaded.left_out,
        {name: params.dataset_of(loaded, name).source.kind for name in loaded.datasets.names()},
        is_full_size,
    )
    claims.run(
        lines,
        loaded.tables,
        claims.Inputs(
            paths.CLAIMS, paths.PREDICTIONS, paths.MODELS, paths.ABLATIONS, _first_relu_tanh(loaded)
        ),
        claims.Outputs(output, paths.table_file("ablations"), paths.table_file("protocols")),
    )


def _doctor(options: argparse.Namespace) -> None:
    import json

    from alexnet import params
    from alexnet.machine import plan_prediction, plan_training, read_machine, usable_gpus

    loaded, machine, name = params.load(), read_machine(), options.member
    member, network = params.member_of(loaded, name), loaded.network_of(name)
    plan = plan_prediction(machine, len(usable_gpus()))  # one device, whatever trains it
    training = plan_training(machine, len(usable_gpus()), network.columns)
    notes = () if training.processes == 1 else (
        f"measured in one process; {training.processes} train it ({training.mode}), and each reads for itself",
    )  # fmt: skip
    with _devices(f"doctor {name}", plan):
        _pin_threads(machine.threads)
        from alexnet.report import diagnosis
        from alexnet.stages import doctor

        found = doctor.run(
            name, member.data, member.seed, network, loaded.protocol_of(name),
            paths.data_folder(member.data), paths.stats_folder(member.data),
            doctor.Setup(plan.device, machine.threads, machine.readers, machine.compile, machine.channels_last),
            options.seconds,
        )  # fmt: skip
    print(json.dumps(diagnosis.as_data(found)) if options.json else diagnosis.render(found, notes), end="")


def _metrics(_: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.stages import metrics

    loaded = params.load()
    tables = [paths.table_file(table) for table in TABLES]
    metrics.run(loaded.members, paths.PREDICTIONS, tables, paths.RESULTS / "metrics.json")


def _report(_: argparse.Namespace) -> None:
    from alexnet import params
    from alexnet.stages import report as stage

    loaded = params.load()
    stage.run(
        stage.Lines(
            loaded.profile,
            loaded.tables.confidence,
            loaded.members,
            loaded.ablations,
            {name: params.dataset_of(loaded, name).source.kind for name in loaded.datasets.names()},
            loaded.left_out,
            {name: (loaded.network_of(name), loaded.protocol_of(name)) for name in loaded.members},
            {name: loaded.protocol(name) for name in loaded.protocols},
        ),
        stage.Inputs(
            paths.RESULTS,
            paths.FIGURES,
            paths.CAPTIONS,
            paths.WORK / "data",
            paths.MODELS,
            paths.ABLATIONS,
            paths.PREDICTIONS,
            paths.AUDITS,
            paths.TIMES,
            paths.PARAMS,
            paths.CLAIMS,
            paths.PINS,
        ),
        paths.REPORT,
    )


def _pin_threads(threads: int) -> None:
    """Before PyTorch is imported: its libraries read these once. Set whoever started us, so results agree."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS is repeatable only with it


if __name__ == "__main__":
    sys.exit(main())
