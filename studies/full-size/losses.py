"""The losses of the paper's network at full size, update by update: one process beside two columns, for each protocol.

`python studies/full-size/losses.py DATA STATS [--updates 48] [--output losses.csv]`, where DATA and STATS are folders
that the stages prepare and rgb_pca made, such as work/data/ilsvrc2012 and work/stats/ilsvrc2012. For each protocol the
first of two processes trains the whole network on one thread while the second waits, then each trains a column on one
thread, from the same initial weights, on the same images. The ledger of code2012 is scaled to these updates, so all its
changes come.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import pandas as pd
import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from alexnet.core.augment import cut_crops
from alexnet.core.draws import count_offsets
from alexnet.core.layers import initial_stds
from alexnet.core.network import Network, initialize
from alexnet.core.protocol import ProtocolParams
from alexnet.core.schedule import rates_of
from alexnet.core.team import ColumnExchange, Team
from alexnet.core.training import Minibatch, Tally, Trainer, epoch_draws, epoch_order
from alexnet.data.shards import load_manifest, open_split
from alexnet.data.stats import read_colours
from alexnet.data.whole import write_whole
from alexnet.device import join_group, leave_group, open_device
from alexnet.launch import joined, launch
from full_size import base_params

PROTOCOLS = ("default", "code2012")
SEED = 1


def train(protocol: ProtocolParams, data: Path, stats: Path, updates: int, team: Team | None) -> list[float]:
    """Mean loss of each update; of a column but the first, zeros."""
    manifest, images = load_manifest(data), open_split(data, "train")
    params = base_params().variant("two_columns")
    exchange = ColumnExchange(team, through_cpu=False) if team else None
    network = Network(
        params, protocol, manifest.num_classes, protocol.crop, column=team.rank if team else None, exchange=exchange
    )  # fmt: skip
    initialize(network, initial_stds(params, protocol, manifest.num_classes, protocol.crop), SEED)
    trainer = Trainer(network, protocol, read_colours(stats), SEED, team=team)
    offsets = count_offsets(images.side, network.side, protocol.crop_offsets)
    losses: list[float] = []
    for epoch in range(protocol.epochs):
        order = epoch_order(protocol, SEED, epoch, len(images))
        trainer.set_rates(rates_of(protocol, epoch))
        for start in range(0, len(order), protocol.batch):
            places = slice(start, min(start + protocol.batch, len(order)))
            chosen = order[places]
            draws = epoch_draws(protocol, SEED, epoch, order, places, offsets)
            pixels, labels = torch.from_numpy(images.read(chosen)), torch.from_numpy(images.labels[chosen])
            batch = Minibatch(cut_crops(pixels, draws, network.side), labels, chosen, draws, len(chosen))
            losses.append(trainer.step(batch, len(losses), Tally()))
            if losses[-1]:
                how = "columns" if team else "one process"
                print(f"{how}, update {len(losses)} of {updates}: {losses[-1]:.6f}", file=sys.stderr)
            if len(losses) == updates:
                return losses
    return losses


def compare(data: Path, stats: Path, updates: int, output: Path) -> None:
    """What each of the two processes does; the first writes."""
    join_group(open_device("cpu", 1))
    rank = dist.get_rank()
    team = Team("columns", rank, 2, dist.new_group(backend="gloo"))
    rows = []
    num_images = len(open_split(data, "train"))
    for name in PROTOCOLS:
        protocol = base_params().protocol(name)
        epochs = -(-updates // -(-num_images // protocol.batch))
        protocol = protocol.model_copy(update={"epochs": epochs})
        dist.barrier()
        alone = train(protocol, data, stats, updates, None) if team.is_first else []
        dist.barrier()
        columns = train(protocol, data, stats, updates, team)
        rows += [(name, update + 1, *pair) for update, pair in enumerate(zip(alone, columns, strict=False))]
    if team.is_first:
        table = pd.DataFrame(rows, columns=["protocol", "update", "one_process", "two_columns"])
        write_whole(output, table.to_csv(index=False, float_format="%.7g"))
        apart = (table["one_process"] - table["two_columns"]).abs() / table["one_process"]
        print(json.dumps({name: float(apart[table["protocol"] == name].max()) for name in PROTOCOLS}))
    leave_group()


def main() -> int:
    """Starts both processes, or is one of them."""
    parser = argparse.ArgumentParser(description="Compare losses of one process and of two columns.")
    parser.add_argument("data", type=Path)
    parser.add_argument("stats", type=Path)
    parser.add_argument("--updates", type=int, default=48)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("losses.csv"))
    options = parser.parse_args()
    if joined() is not None:
        compare(options.data, options.stats, options.updates, options.output)
        return 0
    os.environ["OMP_NUM_THREADS"] = "1"
    cores = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else []
    return launch(sys.argv[1:], 2, cores, program=(sys.executable, __file__))


if __name__ == "__main__":
    sys.exit(main())
