"""A sweep as an array job of Slurm, whose tasks run disjoint shards of the cells."""

import shlex
import sys
from pathlib import Path

from ..files.atomic import atomic_write
from .job import GRACE_SECONDS
from .state import LOGS

MAX_TASKS = 1000  # of an array; Slurm's default limit is 1,001
GPU = "#SBATCH --gres=gpu:1\n"
SCRIPT = """#!/bin/bash
# {cells} runs in {tasks} tasks; submit it again to continue unfinished runs: sbatch {file}
#SBATCH --job-name=clash
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task={threads}
{gpu}#SBATCH --output={log}/slurm-%A_%a.log
#SBATCH --signal=B:TERM@{grace}
#SBATCH --requeue
cd {cwd}
exec {command} --shard $SLURM_ARRAY_TASK_ID/{tasks} --workers 1 --threads {threads}
"""


def write(file: Path, out: Path, cells: int, threads: int, gpu: str, args: list[str]) -> None:
    """`gpu`: the #SBATCH line that requests one. `args`: this sweep's command line without --slurm."""
    tasks = min(cells, MAX_TASKS)
    log = out / LOGS
    log.mkdir(parents=True, exist_ok=True)  # Slurm does not create it
    command = shlex.join([sys.executable, "-m", "common", "sweep", *args])
    text = SCRIPT.format(
        cells=cells,
        tasks=tasks,
        last=tasks - 1,
        file=shlex.quote(str(file)),
        threads=threads,
        gpu=gpu,
        log=f'"{log}"' if " " in str(log) else log,
        grace=int(GRACE_SECONDS),
        cwd=shlex.quote(str(Path.cwd())),
        command=command,
    )
    with atomic_write(file) as part:
        part.write_text(text, "utf-8")
