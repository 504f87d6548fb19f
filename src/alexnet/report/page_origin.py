"""Where the numbers of the report page come from: nets, machines, versions, hashes, times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alexnet.report import wording
from alexnet.report.page_grid import Grid, without_empty_columns
from alexnet.report.page_tables import plain

SHOWN_PINS = ("dvc", "matplotlib", "numba", "numpy", "pandas", "pyarrow", "scipy", "snakemake", "torch")


@dataclass(frozen=True)
class Net:
    """A net that was trained. of: the ablation it belongs to, empty for a member. machine: as its record has it."""

    name: str
    of: str
    seed: int
    seconds: float
    num_images: int
    machine: Mapping[str, Any]


@dataclass(frozen=True)
class StageTime:
    """How long a stage took, and on what."""

    stage: str
    seconds: float
    device: str


@dataclass(frozen=True)
class Hash:
    """A file and the SHA-256 of its bytes."""

    path: str
    size: int
    sha256: str


def read_net(record: Mapping[str, Any], of: str = "") -> Net:
    """record: record.json of a training. Raises KeyError, TypeError or ValueError if it is none."""
    machine = dict(record["machine"])
    machine |= {name: int(machine.get(name) or 1) for name in ("processes", "threads")}
    return Net(
        str(record["member"]), of, int(record["seed"]), float(record["seconds"]), int(record["num_images"]), machine
    )  # fmt: skip


def read_time(entry: Mapping[str, Any]) -> StageTime:
    """entry: a file of work/times. Raises KeyError, TypeError or ValueError if it is none."""
    return StageTime(str(entry["stage"]), float(entry["seconds"]), str(entry["device"]))


def read_pins(text: str) -> list[str]:
    """The versions that requirements.txt pins of the libraries that numbers depend on."""
    pins = dict(line.split("==", 1) for line in text.splitlines() if "==" in line and line[:1] != "#")
    return [f"{name} {pins[name].split()[0]}" for name in SHOWN_PINS if name in pins]


def describe_machines(nets: Sequence[Net]) -> list[str]:
    """What trained the nets, once for all that agree: device, processes and threads, versions."""
    by_machine: dict[str, list[str]] = {}
    for net in nets:
        by_machine.setdefault(_describe(net.machine), []).append(net.name)
    if len(by_machine) == 1:
        return [f"{next(iter(by_machine))}: every net."]
    return [f"{machine}: {wording.listing(names)}." for machine, names in by_machine.items()]


def tabulate_hashes(hashes: Sequence[Hash]) -> Grid:
    """Files and their hashes."""
    rows = [[file.path, f"{file.size:,}", file.sha256] for file in hashes]
    return Grid("Files and their SHA-256", ("file", "bytes", "SHA-256"), rows, frozenset({1}))


def tabulate_times(times: Sequence[StageTime]) -> Grid:
    """Each stage's time, sorted by its name."""
    rows = [[time.stage, wording.duration(time.seconds), time.device] for time in _sorted(times)]
    total = wording.duration(sum(time.seconds for time in times))
    notes = (f"Together {total}, one stage after another.",) if len(times) > 1 else ()
    return Grid("Time of each stage", ("stage", "time", "device"), rows, frozenset({1}), notes)


def tabulate_trainings(nets: Sequence[Net]) -> Grid:
    """How long each training took by itself, as its record says."""
    rows = [
        [
            net.name,
            net.of,
            wording.duration(net.seconds),
            f"{net.num_images:,}",
            _describe_device(net.machine),
        ]
        for net in nets
    ]
    head = ("net", "ablation", "training", "images", "device")
    return without_empty_columns(Grid("Time of each training", head, rows, frozenset({2, 3})))


def _sorted(times: Sequence[StageTime]) -> list[StageTime]:
    return sorted(times, key=lambda time: time.stage)


def _describe_device(machine: Mapping[str, Any]) -> str:
    processes, threads = machine["processes"], wording.count(machine["threads"], "thread")
    parts = [str(machine.get("device", "not recorded"))]
    parts += (
        [f"{processes} processes by {machine.get('mode')}", f"{threads} each"] if processes > 1 else [threads]
    )
    return ", ".join(parts)


def _describe(machine: Mapping[str, Any]) -> str:
    """A machine's whole record."""
    told = {"device", "processes", "mode", "threads", "python", "torch"}
    names = {"python": "Python", "torch": "PyTorch"}
    versions = [f"{name} {machine[key]}" for key, name in names.items() if machine.get(key)]
    others = [
        f"{name.replace('_', ' ')} {plain(value)}"
        for name, value in machine.items()
        if name not in told and value
    ]
    return ", ".join([_describe_device(machine), *versions, *others])
