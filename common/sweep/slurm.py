"""A sweep as an array job of Slurm: every task of the array does the cells that are its own."""

import shlex
import sys
from pathlib import Path

from ..files.atomic import atomic_write
from .attempt import GRACE
from .ledger import LOGS

MOST = 1000  # tasks of an array: Slurm's default has an end at 1,001
GPU = "#SBATCH --gres=gpu:1\n"
SCRIPT = """#!/bin/bash
# {cells} runs in {tasks} tasks; submitted again, it goes on with what is not finished: sbatch {file}
#SBATCH --job-name=clash
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task={threads}
{gpu}#SBATCH --output={log}/slurm-%A_%a.log
#SBATCH --signal=B:TERM@{grace}
#SBATCH --requeue
cd {here}
exec {command} --shard $SLURM_ARRAY_TASK_ID/{tasks} --workers 1 --threads {threads}
"""


def write(file: Path, out: Path, cells: int, threads: int, gpu: str, words: list[str]) -> None:
    """`gpu`: the line that asks for one. `words`: of this sweep's command line, without those on where it runs."""
    tasks = min(cells, MOST)
    log = out / LOGS
    log.mkdir(parents=True, exist_ok=True)  # Slurm does not make it
    command = shlex.join([sys.executable, "-m", "common", "sweep", *words])
    text = SCRIPT.format(
        cells=cells,
        tasks=tasks,
        last=tasks - 1,
        file=shlex.quote(str(file)),
        threads=threads,
        gpu=gpu,
        log=f'"{log}"' if " " in str(log) else log,
        grace=int(GRACE),
        here=shlex.quote(str(Path.cwd())),
        command=command,
    )
    with atomic_write(file) as part:
        part.write_text(text, "utf-8")
