"""The stages of dvc.yaml as rules: Snakemake schedules them, DVC judges, runs and records (workflow/bridge.py)."""

import sys

from alexnet.errors import UserError
from alexnet.machine import count_devices, read_machine, usable_gpus
from snakemake.exceptions import WorkflowError

sys.path.insert(0, f"{workflow.basedir}/workflow")
from bridge import BridgeError, caption_of, join_captions, open_engine


def check_params():
    """What the stage `check` does. Imported only where it is needed: not if nothing changed."""
    from alexnet import params

    params.load()


def flag_output(stage, path):
    """An output as Snakemake is to take it: a folder, a mark to be set after the job, or a file; perhaps for its report."""
    is_folder = path in stage.folders
    flagged = (
        directory(path) if is_folder else touch(path) if path in stage.marks else path
    )
    if not stage.chapter:
        return flagged
    return report(
        flagged,
        category=stage.chapter,
        caption=join_captions(path) if is_folder else caption_of(path),
        patterns=[r"{name,[a-z]+\d+}.svg"] if is_folder else [],
    )


report: "workflow/report/workflow.rst"


if config:
    raise WorkflowError(
        "--config: DVC reads params.yaml alone, so edit that, or run `alexnet configure`."
    )
try:
    gpus = len(usable_gpus())
    takes = count_devices(read_machine(), gpus)
    stages, keep_dates = open_engine(workflow.is_main_process, check_params)
except (UserError, BridgeError) as error:
    raise WorkflowError(str(error)) from None
if "gpu" not in workflow.global_resources:  # --resources gpu=N lets fewer run at once
    workflow.register_resource("gpu", gpus)


onstart:
    keep_dates()


rule all:
    input:
        [path for stage in stages for path in stage.outputs],


for stage in stages:

    rule:
        name:
            stage.rule
        input:
            stage.inputs,
            token=stage.token,
        output:
            [flag_output(stage, path) for path in stage.outputs],
        log:
            f"logs/{stage.name}.log",
        priority: stage.priority
        threads: takes[stage.threads] if stage.threads else 1
        resources:
            gpu=takes[stage.gpu] if stage.gpu else 0,
        params:
            stage=stage.name,
            python=sys.executable,
        shell:
            "{params.python} workflow/repro.py {params.stage} > {log} 2>&1"
