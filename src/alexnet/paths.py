"""Where each artefact lives. Computes paths, creates nothing."""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
CLAIMS = Path("claims.yaml")
MACHINE = Path("machine.yaml")
INPUTS = Path("inputs")
WORK = Path("work")
RESULTS = Path("results")
CHECKPOINTS = Path(".ckpt")

CHECKED = WORK / "checked"
HELD_OUT = WORK / "held_out"
PREDICTIONS = WORK / "predictions"
MODELS = WORK / "models"
ABLATIONS = WORK / "ablations"
RELU_TANH = WORK / "relu_tanh"
NEIGHBOURS = WORK / "neighbours"
FIGURES = RESULTS / "figures"
AUDITS = WORK / "audits"
TIMES = WORK / "times"
REPORT = RESULTS / "report.html"
CAPTIONS = Path("workflow/report")
PINS = Path("requirements.txt")


def input_link(name: str) -> Path:
    """The link `alexnet configure` lays to a data set's archives."""
    return INPUTS / name


def source_folder(dataset: str) -> Path:
    """Inventory of a data set's archives (and the archives themselves, if generated)."""
    return WORK / "sources" / dataset


def data_folder(dataset: str) -> Path:
    """Shards, index and manifest of a prepared data set."""
    return WORK / "data" / dataset


def unfinished_folder(dataset: str) -> Path:
    """Finished shards of a `prepare` under way; outside every output, as the engines remove those before a run."""
    return WORK / "unfinished" / dataset


def unfinished_audit_folder(dataset: str) -> Path:
    """Finished parts of an audit under way."""
    return WORK / "unfinished_audits" / dataset


def held_out_file(dataset: str) -> Path:
    """Hashes of the decoded pixels of a data set's val and test images."""
    return HELD_OUT / f"{dataset}.parquet"


def stats_folder(dataset: str) -> Path:
    """Mean image and RGB PCA of a data set's training images."""
    return WORK / "stats" / dataset


def weights_file(member: str) -> Path:
    """Final weights of a member; that of `scratch` is empty and shipped."""
    return WORK / "models" / member / "weights.safetensors"


def record_file(member: str) -> Path:
    """How a member was made: params, versions, device, time."""
    return WORK / "models" / member / "record.json"


def history_file(member: str) -> Path:
    """A row per epoch of a member's training."""
    return WORK / "models" / member / "history.csv"


def ablation_folder(name: str) -> Path:
    """The nets of an ablation, a folder for each seed: weights, record, history and predictions."""
    return ABLATIONS / name


def unfinished_ablation(name: str) -> Path:
    """The same while it is being made, outside the output: what is finished is not made again."""
    return WORK / "unfinished" / "ablations" / name


def features_file(member: str) -> Path:
    """Features of all of a member's training images, kept by `alexnet similar`; no stage's output."""
    return WORK / "features" / f"{member}.npy"


def relu_tanh_folder(dataset: str) -> Path:
    """Trainings of the four-layer net with ReLU and with tanh."""
    return RELU_TANH / dataset


def neighbours_folder(member: str) -> Path:
    """Some test images, and the training images nearest to them by a member's features."""
    return NEIGHBOURS / member


def predictions_file(dataset: str, member: str, split: str) -> Path:
    """Predictions of a member for one split of its data set."""
    return PREDICTIONS / dataset / member / f"{split}.parquet"


def table_file(table: str) -> Path:
    """One of the paper's tables, ours beside it."""
    return RESULTS / f"{table}.csv"


def time_file(stage: str) -> Path:
    """How long a stage took when it last ran here; no stage's output."""
    return TIMES / f"{stage.replace(' ', '-')}.json"
