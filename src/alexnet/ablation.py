"""The nets of one ablation, trained one after the other in one process, each with its predictions.

A start of PyTorch for each net would cost a good part of a small one's training. What is finished of an ablation that
was killed lies outside its output, and is not made again.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet import paths
from alexnet.core.layers import NetworkParams
from alexnet.core.protocol import ProtocolParams
from alexnet.data.whole import replace_folder, sync_file, write_whole
from alexnet.launch import launch
from alexnet.machine import Machine, Plan
from alexnet.params import AllParams
from alexnet.stages import predict, train

IDENTITY = "identity.json"


class Ablation:
    """An ablation under one set of parameters, on one machine."""

    def __init__(self, name: str, loaded: AllParams, machine: Machine, plan: Plan) -> None:
        self.name, self.line, self.predict = name, loaded.ablations[name], loaded.predict
        self.network: NetworkParams = loaded.variant(self.line.variant)
        self.protocol: ProtocolParams = loaded.protocol_of_ablation(name)
        self.machine, self.plan = machine, plan
        self.room = paths.unfinished_ablation(name)
        self.inputs = train.TrainInputs(
            paths.data_folder(self.line.data),
            paths.stats_folder(self.line.data),
            paths.weights_file("scratch"),
        )

    def run(self, cores: Sequence[int]) -> int:
        """Makes the output, whole; returns the exit code of other processes that failed to train a net, or 0."""
        for seed in self.line.seeds:
            done, identity = self._folder(seed) / IDENTITY, json.dumps(self._identify(seed), sort_keys=True)
            if done.exists() and done.read_text() == identity:
                print(f"ablate {self.name}: seed {seed} is finished", file=sys.stderr)
                continue
            shutil.rmtree(self._folder(seed), ignore_errors=True)
            if self.plan.processes == 1:
                self.train(seed)
            elif code := launch(["ablate", self.name, "--seed", str(seed)], self.plan.processes, cores):
                return code
            self._predict(seed)
            write_whole(done, identity)
        for folder in self.room.iterdir():
            if folder.name not in map(str, self.line.seeds):
                shutil.rmtree(folder)
        for file in sorted(self.room.rglob("*")):
            if file.is_file():
                sync_file(file)
        replace_folder(self.room, paths.ablation_folder(self.name))
        return 0

    def train(self, seed: int) -> None:
        """Trains one net, or this process's part of it."""
        folder, machine = self._folder(seed), self.machine
        train.run(
            self._member(seed), seed, self.network, self.protocol, self.inputs,
            train.TrainOutputs(self._weights(seed), folder / "record.json", folder / "history.csv"),
            paths.CHECKPOINTS,
            train.Setup(
                self.plan.device, machine.threads, self.plan.mode, machine.compile, machine.channels_last,
                machine.readers,
            ),
        )  # fmt: skip

    def _predict(self, seed: int) -> None:
        line, machine = self.line, self.machine
        predict.run(
            self._member(seed), line.split, self.predict, line.data, self.inputs.data, self.inputs.stats,
            self._weights(seed), self._folder(seed) / f"{line.split}.parquet",
            device_name=self.plan.device, threads=machine.threads, readers=machine.readers,
        )  # fmt: skip

    def _identify(self, seed: int) -> dict[str, Any]:
        """All that a net's files depend on."""
        made = train.identify(self._member(seed), seed, self.network, self.protocol, self.inputs)
        return {**made, "predict": self.predict.model_dump(mode="json"), "split": self.line.split}

    def _member(self, seed: int) -> str:
        return f"{self.name}-{seed}"

    def _folder(self, seed: int) -> Path:
        return self.room / str(seed)

    def _weights(self, seed: int) -> Path:
        return self._folder(seed) / "weights.safetensors"
