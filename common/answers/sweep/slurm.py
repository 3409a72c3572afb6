"""A sweep as an array job of Slurm: every task of the array does the cells that are its own."""

import shlex
import sys
from pathlib import Path

from ...atomic import whole

SCRIPT = """#!/bin/bash
# {cells} runs, one task for each; submitted again, it goes on with what is not finished: sbatch {file}
#SBATCH --job-name=clash
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task={threads}
{gpu}#SBATCH --output={out}/logs/slurm-%A_%a.log
#SBATCH --signal=B:TERM@{grace}
#SBATCH --requeue
cd {here}
exec {command} --shard $SLURM_ARRAY_TASK_ID/{cells} --workers 1 --threads {threads}
"""


def write(file: Path, out: Path, cells: int, threads: int, gpu: bool, words: list[str]) -> None:
    """`words`: of this sweep's command line, without those on where it runs."""
    (out / "logs").mkdir(parents=True, exist_ok=True)  # Slurm does not make it
    command = shlex.join([sys.executable, "-m", "common", "sweep", *words])
    text = SCRIPT.format(
        cells=cells,
        last=cells - 1,
        file=shlex.quote(str(file)),
        threads=threads,
        gpu="#SBATCH --gres=gpu:1\n" if gpu else "",
        out=out.absolute(),
        grace=120,
        here=shlex.quote(str(Path.cwd())),
        command=command,
    )
    with whole(file) as part:
        part.write_text(text, "utf-8")
