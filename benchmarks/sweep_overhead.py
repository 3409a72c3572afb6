"""What does a run cost in a sweep, how fast are finished runs skipped, how many runs per hour does a machine finish?

    python benchmarks/sweep_overhead.py              # three minutes of one core, which may be busy
    python benchmarks/sweep_overhead.py --scaling    # ten more, of two idle cores

Fixed cost: a sweep of four runs of one step on scikit-learn's digits against the same four commands started one after the
other by a shell, alternating; CPU seconds of all processes. Skipping: a plan of 10,000 runs (20 backbones, 500 seeds), none
and all of them finished. Scaling: four short runs with 1 and with 2 workers of one thread each, and with one worker of two
threads; without the option the figures stay those of an earlier commit, which they name.
"""

import argparse
import ctypes
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch

from common.cli import catalog
from common.models.registry import CIFAR, PAPER
from common.run import provenance
from common.run.results import write_json
from common.training import recipes

BENCH = ROOT / "benchmarks" / "results" / "bench_cpu.json"
SEEDS = [str(seed) for seed in range(4)]
SHORT = "--image_size 32 -bs 32 --epochs 6".split()
ONE_STEP = "--weights none --image_size 32 --steps 1".split()
MODEL, TINY = "efficientnet_lite0", "timm:test_efficientnet.r160_in1k"
PR_SET_CHILD_SUBREAPER = 36  # prctl(2): the sweep's server, too, is waited for and counted
MANY = [*PAPER, *(row.name for row in CIFAR[:9])]


def sweep(out: Path, *options: str) -> list[str]:
    grid = ["--datasets", "digits", "--out", str(out), "--quiet"]
    return [sys.executable, "-m", "common", "sweep", *grid, *options]


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def cpu_seconds(command: list[str]) -> float:
    """Of the command, its children and those that they leave behind."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds(command)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def fixed_cost(folder: Path, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of four runs of one step."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    found: dict[str, list[float]] = {"sweep": [], "shell": []}
    for i in range(rounds):
        for kind in found:
            out = folder / f"{kind}{i}"
            if kind == "sweep":
                command = sweep(out, "--models", TINY, "--seeds", *SEEDS, "--threads", "1", *ONE_STEP)
            else:
                each = [
                    [sys.executable, "digits.py", "-model", TINY, "--seed", s, "--out", str(out / s), *ONE_STEP]
                    for s in SEEDS
                ]
                script = " && ".join(map(shlex.join, each))
                command = ["bash", "-c", f"export OMP_NUM_THREADS=1 TQDM_DISABLE=1; {script}"]
            found[kind].append(cpu_seconds(command))
            print(kind, found[kind][-1], flush=True)
    return found


def skipping(folder: Path) -> dict[str, float]:
    """Seconds of a plan with no finished runs, and with all finished."""
    out = folder / "many"
    seeds = [str(seed) for seed in range(500)]
    options = ["--models", *MANY, "--seeds", *seeds, "--weights", "none", "--plan"]
    start = time.perf_counter()
    plan = subprocess.run(sweep(out, *options), cwd=ROOT, check=True, capture_output=True, text=True).stdout
    empty = time.perf_counter() - start
    names = [line.split()[0] for line in plan.splitlines()[:-1]]
    for name in names:
        (out / name).mkdir(parents=True)
        result = {
            "backbone": "x", "batch_size": 32, "preprocess": {"size": [64, 64]}, "last": {"step": 400}, "recipe": {"eval_every": 40},
            "split": {"train": 1284, "val": 149, "test": 364}, "cost": {"total_seconds": 60.0, "train_seconds": 50.0}, "protocol": "clean",
        }  # fmt: skip
        (out / name / "result.json").write_text(json.dumps(result))
    return {
        "runs": len(names),
        "nothing_finished_seconds": empty,
        "all_finished_seconds": seconds(sweep(out, *options)),
    }


def scaling(folder: Path) -> list[dict[str, float]]:
    found = []
    for workers, threads in ((1, 1), (2, 1), (1, 2)):
        options = ["--workers", str(workers), "--threads", str(threads), *SHORT]
        out = folder / f"{workers}x{threads}"
        elapsed = seconds(sweep(out, "--models", MODEL, "--seeds", *SEEDS, *options))
        row = {"workers": workers, "threads": threads, "seconds": elapsed}
        found.append({**row, "runs_per_hour": 3600 * len(SEEDS) / elapsed})
        print(found[-1], flush=True)
    return found


def grid_hours() -> dict[str, object]:
    """Machine-hours of every dataset x 12 backbones x 3 seeds with the default recipe, from the rates of `bench`.

    The backbones are the paper's eleven and EfficientNet-Lite0. An evaluated image costs a third of a trained one; rates scale
    with the number of pixels.
    """
    rates = {
        row["backbone"]: row["end_to_end"] * row["size"][0] * row["size"][1] for row in json.loads(BENCH.read_text())
    }
    names = [name for name in (*PAPER, MODEL) if name in rates]
    pixels = 0.0
    sheets = [sheet for sheet in catalog.datasets() if sheet.counts and sheet.name != "digits"]
    for sheet in sheets:
        train = sheet.counts["train"] - (0 if "val" in sheet.counts else sheet.counts["train"] // 10)
        val = sheet.counts.get("val", sheet.counts["train"] // 10)
        epochs = recipes.default_epochs(max(1, train // 32))
        images = epochs * (train + val / 3) + sheet.counts["test"] / 3
        pixels += images * sheet.image_size[0] * sheet.image_size[1]
    hours = {name: 3 * pixels / rates[name] / 3600 for name in names}
    runs = 3 * len(sheets) * len(names)
    return {
        "datasets": len(sheets), "backbones": len(names), "seeds": 3, "runs": runs, "hours_by_backbone": hours,
        "hours": {str(machines): sum(hours.values()) / machines for machines in (1, 8, 64)},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="sweep and shell, each (default: %(default)s)")
    parser.add_argument("--scaling", action="store_true", help="measure the runs per hour, too")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "sweep_overhead.json")
    options = parser.parse_args()
    versions = provenance.collect(torch.device("cpu"), "fp32")
    scaled = json.loads(options.out.read_text())["scaling"] if not options.scaling else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = {
            "whole_question": grid_hours(),
            "skipping": skipping(folder),
            "scaling": scaled or {"rows": scaling(folder), **versions},
            "fixed_cpu_seconds": fixed_cost(folder, options.rounds),
        }
    write_json(options.out, {**result, **versions})


if __name__ == "__main__":
    main()
