"""DVC's judgement in terms of what Snakemake looks at: the stages of dvc.yaml, and file times that say which are due.

DVC decides by content what is stale, Snakemake schedules. Snakemake goes by the times of files, so for each run
- a stale stage gets a new token file among its inputs, which makes its job due;
- a clean stage gets a token of 1970, and outputs that are not newer than its inputs (after a checkout, say) are dated
  anew, parents first.
The tokens go when the process ends, and so do the new dates unless jobs were started: a dry run leaves no trace.

Snakemake removes a job's outputs before it starts. Those that DVC leaves in place while a stage runs (`persist`), so
that one that fails has done no harm, it therefore never sees: a mark in .engines stands for them.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

ENGINES = Path(".engines")
GRAPH = ENGINES / "graph.json"
LOCKS = Path(".snakemake/locks")
STAMP = ".snakemake_timestamp"  # Snakemake takes the time of a folder from this file in it
TOKENS = "tokens-"
MARKS = ENGINES / "made"
CAPTIONS = Path("workflow/report")
T = TypeVar("T")


class BridgeError(Exception):
    """What keeps Snakemake from starting, in one line."""


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml, its templates resolved."""

    name: str
    inputs: list[str]  # outputs of other stages; DVC alone watches code, parameters and the world outside
    outputs: list[str]
    folders: list[str]  # those of `outputs` that are folders
    marks: list[str]  # those that are marks
    parents: list[str]
    threads: str | None  # names in alexnet.machine.count_devices of how many it takes; 1 if None
    gpu: str | None  # none if None
    priority: int  # how many stages wait for it: long chains first, or they are left over at the end
    token: str = ""
    chapter: str | None = None  # of Snakemake's report, in which its outputs stand; none if None

    @property
    def rule(self) -> str:
        """Its name as a rule."""
        return self.name.replace("@", "_")


@dataclass(frozen=True)
class Report:
    """All stages, parents first, and the names of those DVC finds stale."""

    stages: list[Stage]
    stale: set[str]
    gates: set[str]  # names of stages that are asked again at the start


def open_engine(is_main: bool, pass_gates: Callable[[], None]) -> tuple[list[Stage], Callable[[], None]]:
    """The stages with their tokens, and what to call once jobs start. Raises BridgeError, and what `pass_gates` raises.

    A process that Snakemake starts for a job is not the main one: it reads what the main one wrote.
    pass_gates: does what the gates among the stages do, called if one of these is stale: no job may start before.
    """
    if not is_main:
        return [Stage(**stage) for stage in json.loads(GRAPH.read_text())], lambda: None
    MARKS.mkdir(parents=True, exist_ok=True)
    claim_locks()
    try:
        report = ask_dvc()
    except BridgeError:
        pass_gates()  # what is wrong may be what they watch, and their message is the clearer one
        raise
    if report.stale & report.gates:
        pass_gates()
    tokens = Path(tempfile.mkdtemp(prefix=TOKENS, dir=ENGINES))
    atexit.register(shutil.rmtree, tokens, ignore_errors=True)
    stages = [lay_token(stage, stage.name in report.stale, tokens) for stage in report.stages]
    dates = Dates()
    atexit.register(dates.undo)
    dates.order(stages, report.stale)

    def keep() -> None:
        dates.keep()
        GRAPH.write_text(json.dumps([asdict(stage) for stage in stages]))

    return stages, keep


def claim_locks() -> None:
    """Removes what a killed Snakemake left: its locks, for which one would need `--unlock`, and its tokens.

    Every Snakemake holds a share of this lock while it lives, and the kernel takes it back from a dead one;
    so whoever gets it alone knows that nobody else is running.
    """
    lock = os.open(
        ENGINES / "running", os.O_RDWR | os.O_CREAT
    )  # held, and so left open, until the process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        for left in [*LOCKS.glob("*"), *ENGINES.glob(f"{TOKENS}*")]:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    fcntl.flock(lock, fcntl.LOCK_SH)


def ask_dvc() -> Report:
    """What DVC says. Raises BridgeError with its message if it cannot."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo

    def ask() -> Report:
        with Repo(_wait_for_lock=True) as repo, lock_repo(repo):  # locked once, so that dvc.yaml is read once
            gates = {stage.addressing for stage in repo.index.stages if (stage.meta or {}).get("gate")}
            return Report(list(read_stages(repo, gates)), set(repo.status()), gates)

    gc.disable()  # a quarter of the time would go into looking through objects that all live until the end
    try:
        return wait_for_others(ask, LockError)
    except DvcException as error:
        raise BridgeError(str(error)) from error
    finally:
        gc.enable()


def caption_of(path: str) -> str:
    """The file with the caption of an output in Snakemake's report: that by its name in workflow/report."""
    return str(CAPTIONS / f"{Path(path).stem}.rst")


def join_captions(path: str) -> str:
    """The same for a folder whose files have captions of their own, by the wildcard `name`: one file that has them all.

    A flag of Snakemake's has room for one. It is written anew each time it is asked for.
    """
    choices = [
        f'{{% if snakemake.wildcards.name == "{caption.stem}" %}}\n{caption.read_text()}{{% endif %}}\n'
        for caption in sorted(CAPTIONS.glob("*.rst"))
    ]
    joined = ENGINES / "captions" / f"{Path(path).name}.rst"
    joined.parent.mkdir(parents=True, exist_ok=True)
    joined.write_text("".join(choices))
    return str(joined)


def wait_for_others(ask: Callable[[], T], busy: type[Exception]) -> T:
    """What `ask` returns, tried again while a stage that somebody else runs keeps its files locked."""
    said = False
    while True:
        try:
            return ask()
        except busy as error:
            if not said:
                print(f"waiting: {str(error).splitlines()[0]}", file=sys.stderr)
            said = True
            time.sleep(1)


def read_stages(repo: Any, gates: set[str]) -> Iterator[Stage]:
    """The stages of a DVC repository, parents first. Nothing waits for a gate whose outputs are there."""
    import networkx

    graph = repo.index.graph  # edges go from a stage to those it depends on
    made = {str(out): stage for stage in graph for out in stage.outs}
    passed = {path for path, stage in made.items() if stage.addressing in gates and os.path.exists(path)}
    shown = {str(out): show(stage, out) for stage in graph for out in stage.outs}
    for stage in networkx.dfs_postorder_nodes(graph):
        meta = stage.meta or {}
        inputs = [path for dep in stage.deps if not hasattr(dep, "params") for path in within(str(dep), made)]
        inputs = [path for path in inputs if path not in passed]
        outputs = dict.fromkeys(shown[str(out)] for out in stage.outs)
        yield Stage(
            name=stage.addressing,
            inputs=[shown[path] for path in inputs],
            outputs=list(outputs),
            folders=meta.get("folders", []),
            marks=[path for path in outputs if path not in made],
            parents=list(dict.fromkeys(made[path].addressing for path in inputs)),
            threads=meta.get("threads"),
            gpu=meta.get("gpu"),
            priority=len(networkx.ancestors(graph, stage)),
            chapter=meta.get("report"),
        )


def show(stage: Any, out: Any) -> str:
    """The path by which Snakemake knows an output: its own, or a mark if it must not be removed."""
    return str(MARKS / stage.addressing) if out.persist else str(out)


def within(dependency: str, made: dict[str, Any]) -> list[str]:
    """The outputs of stages that a dependency means: itself, or those in it if it is a folder that holds some."""
    return (
        [dependency] if dependency in made else [path for path in made if path.startswith(f"{dependency}/")]
    )


def lay_token(stage: Stage, is_stale: bool, folder: Path) -> Stage:
    """The stage with its token: new if it is stale, of 1970 if not."""
    token = folder / stage.name
    token.write_text(
        f"{time.time_ns()}\n" if is_stale else "clean\n"
    )  # equal content would count as unchanged
    if not is_stale:
        os.utime(token, (0, 0))
    return Stage(**{**asdict(stage), "token": str(token)})


class Dates:
    """Dates of outputs, changed so that those of clean stages follow those of their inputs."""

    def __init__(self) -> None:
        self._before: dict[
            str, tuple[int, int, int] | None
        ] = {}  # time of access, of change before, and after

    def order(self, stages: list[Stage], stale: set[str]) -> None:
        """Dates the outputs of clean stages anew where they are not newer than the inputs. Parents come first."""
        moved: set[str] = set()
        for stage in stages:
            if stage.name in stale or not all(map(os.path.exists, stage.inputs)):
                continue
            newest = max((read_date(path, is_input=True) for path in stage.inputs), default=0)
            oldest = min(read_date(path, is_input=False) for path in stage.outputs)
            if oldest <= newest or moved.intersection(stage.parents):
                # The kernel's clock lags by up to 4 ms, so the time is given.
                date = max(time.time_ns(), newest + 1_000_000)
                for path in stage.outputs:
                    self._set(dated_file(path), date)
                moved.add(stage.name)

    def keep(self) -> None:
        """Lets the new dates stand."""
        self._before.clear()

    def undo(self) -> None:
        """Restores the dates of before, but for outputs that somebody has written since."""
        for path, before in self._before.items():
            with contextlib.suppress(FileNotFoundError):
                if before is None:
                    os.unlink(path)
                elif os.lstat(path).st_mtime_ns == before[2]:
                    os.utime(path, ns=before[:2], follow_symlinks=False)

    def _set(self, path: str, date: int) -> None:
        if os.path.lexists(path):
            now = os.lstat(path)
            self._before[path] = (now.st_atime_ns, now.st_mtime_ns, date)
        else:
            Path(path).touch()
            self._before[path] = None
        os.utime(path, ns=(date, date), follow_symlinks=False)


def dated_file(path: str) -> str:
    """The file that carries an output's date. In a folder a stamp, since DVC hashes files again that change theirs."""
    return os.path.join(path, STAMP) if os.path.isdir(path) else path


def read_date(path: str, is_input: bool) -> int:
    """The date of a file as Snakemake sees it, in ns: of an input that is a link, the newer of link and target.

    0 if there is none: of a clean stage only a mark can be missing.
    """
    dated = dated_file(path)
    if not os.path.lexists(dated):
        dated = path
    if not os.path.lexists(dated):
        return 0
    own = os.lstat(dated).st_mtime_ns
    return max(own, os.stat(dated).st_mtime_ns) if is_input else own
