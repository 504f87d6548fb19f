"""A stand-in for the command `alexnet`: each stage writes hashes of what it reads, at once, and notes that it ran.

For tests of which stages run. `check` is the real one. A training sleeps for $STAND_IN_TRAINS_S seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import yaml


def digest(*parts: object) -> str:
    """A hash of values, and of the content of files and folders."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            files = sorted(file for file in part.rglob("*") if file.is_file()) if part.is_dir() else [part]
            for file in files:
                if file.name != ".snakemake_timestamp":
                    total.update(f"{file}".encode() + file.read_bytes())
        else:
            total.update(json.dumps(part, sort_keys=True).encode())
    return total.hexdigest()[:16]


def write(path: str, text: str) -> None:
    """Writes a file and the folders above it."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text + "\n")


def run(params: dict[str, Any], command: str, arguments: list[str]) -> None:
    """Runs one stage."""
    name = arguments[0] if arguments else ""
    member = params["members"].get(name, {})
    data = member.get("data", name)
    if command == "source":
        section = {**params["datasets"]["ilsvrc"], **params["datasets"]["fall"]}[name]
        write(f"work/sources/{name}/inventory.json", digest(section))
    elif command == "prepare":
        others = [Path("work/held_out")] if name in params["datasets"]["fall"] else []
        write(
            f"work/data/{name}/manifest.json",
            digest(params["prepare"], Path(f"work/sources/{name}"), *others),
        )
        if not others:
            write(f"work/held_out/{name}.parquet", digest(name))
    elif command == "rgb-pca":
        write(f"work/stats/{name}/rgb_pca.json", digest(Path(f"work/data/{name}")))
    elif command == "train":
        time.sleep(float(os.environ.get("STAND_IN_TRAINS_S", "0")))
        inputs = [Path(f"work/data/{data}"), Path(f"work/models/{member['start']}/weights.safetensors")]
        protocol = {**params["protocols"]["default"], **params["protocols"][member["protocol"]]}
        chosen = [member, params["network"], protocol]
        write(f"work/models/{name}/weights.safetensors", digest(*chosen, *inputs))
        write(f"work/models/{name}/record.json", json.dumps({"time": time.time()}))
        write(f"work/models/{name}/history.csv", f"epoch,train_loss\n0,{protocol['lr']}")
    elif command == "predict":
        weights = Path(f"work/models/{name}/weights.safetensors")
        for split in ("val", "test"):
            write(
                f"work/predictions/{data}/{name}/{split}.parquet", digest(weights, Path(f"work/data/{data}"))
            )
    elif command == "table":
        folder = {"table1": "ilsvrc2010", "table2": "ilsvrc2012", "fall2009": "fall2009"}[name]
        write(f"results/{name}.csv", f"model,value\n{name},{digest(Path('work/predictions') / folder)}")
    elif command == "metrics":
        write("results/metrics.json", json.dumps({"members": len(params["members"])}))
    elif command in ("ablate", "relu-tanh", "neighbours"):
        section = {"ablate": "ablations", "relu-tanh": "relu_tanh", "neighbours": "neighbours"}[command]
        line = params[section][name]
        data = Path(f"work/data/{line.get('data', name)}")
        write(f"work/{section}/{name}/record.json", digest(line, data))
    elif command == "claims":
        for table in ("claims", "ablations", "protocols"):
            write(f"results/{table}.csv", f"id,value\n{table},{digest(Path('work/predictions'))}")
    elif command == "audit":
        write("work/audits/all.json", digest(Path("work/sources")))
    elif command == "card":
        write("work/cards/cards.md", digest(Path("work/predictions")))
    elif command == "figures":
        for number in (1, 2, 3, 4):
            for end in ("", "_narrow"):
                svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{number}" height="9"></svg>'
                write(f"results/figures/figure{number}{end}.svg", svg)
    elif command == "report":
        write("results/report.html", f"<!DOCTYPE html><title>{digest(Path('results/claims.csv'))}</title>")


def main() -> int:
    """Notes the stage and runs it."""
    command, *arguments = sys.argv[1:]
    if command == "check":
        from alexnet.cli import main as real

        return real(["check"])
    with open(os.environ["STAND_IN_LOG"], "a") as log:
        log.write(" ".join([command, *arguments]) + "\n")
    run(yaml.safe_load(Path("params.yaml").read_text()), command, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
