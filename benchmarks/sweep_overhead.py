"""What a sweep costs beside its runs, how fast it skips what is finished, and how many runs an hour this machine does.

    python benchmarks/sweep_overhead.py

Overhead: the sweep of four runs on scikit-learn's digits against the same four commands started one after the
other by a shell, by turns. Skipping: a plan of 10,000 runs (20 backbones, 500 seeds) of which all are finished.
Scaling: the four runs by 1 and by 2 workers of one thread each, and by one worker of two threads.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from common.cli import catalog  # noqa: E402
from common.models.registry import CIFAR, PAPER  # noqa: E402
from common.run import provenance  # noqa: E402
from common.run.results import write_json  # noqa: E402
from common.training import recipes  # noqa: E402

BENCH = ROOT / "benchmarks" / "results" / "bench_cpu.json"
SEEDS = [str(seed) for seed in range(4)]
SHORT = ["--image_size", "32", "-bs", "32", "--epochs", "6"]
MODEL = "efficientnet_lite0"
MANY = [*PAPER, *(row.name for row in CIFAR[:9])]


def sweep(out: Path, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "common",
        "sweep",
        "--datasets",
        "digits",
        "--out",
        str(out),
        "--quiet",
        *options,
    ]


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def overhead(folder: Path, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"sweep": [], "shell": []}
    for i in range(rounds):
        for kind in ("sweep", "shell"):
            out = folder / f"{kind}{i}"
            if kind == "sweep":
                command = sweep(out, "--models", MODEL, "--seeds", *SEEDS, "--threads", "2", *SHORT)
            else:
                each = [
                    [sys.executable, "digits.py", "-model", MODEL, "--seed", s, "--out", str(out / s), *SHORT]
                    for s in SEEDS
                ]
                command = [
                    "bash",
                    "-c",
                    f"export OMP_NUM_THREADS=2 TQDM_DISABLE=1; {' && '.join(map(shlex.join, each))}",
                ]
            found[kind].append(seconds(command))
            print(kind, found[kind][-1], flush=True)
    return found


def skipping(folder: Path) -> dict[str, float]:
    """Seconds of a plan in which nothing, and of one in which everything is finished."""
    out = folder / "many"
    seeds = [str(seed) for seed in range(500)]
    options = [
        "--models",
        *MANY,
        "--seeds",
        *seeds,
        "--weights",
        "none",
        "--plan",
    ]
    started = time.perf_counter()
    told = subprocess.run(sweep(out, *options), cwd=ROOT, check=True, capture_output=True, text=True).stdout
    empty = time.perf_counter() - started
    names = [line.split()[0] for line in told.splitlines()[:-1]]
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
        options = [
            "--models",
            MODEL,
            "--seeds",
            *SEEDS,
            "--workers",
            str(workers),
            "--threads",
            str(threads),
            *SHORT,
        ]
        took = seconds(sweep(folder / f"{workers}x{threads}", *options))
        found.append(
            {
                "workers": workers,
                "threads": threads,
                "seconds": took,
                "runs_per_hour": 3600 * len(SEEDS) / took,
            }
        )
        print(found[-1], flush=True)
    return found


def whole_question() -> dict[str, object]:
    """Machine-hours of every dataset x the paper's eleven and EfficientNet-Lite0 x three seeds by the default recipe, from the rates of `bench`.

    A look at validation or test costs a third of one in training; rates go with the number of pixels.
    """
    rates = {
        row["backbone"]: row["end_to_end"] * row["size"][0] * row["size"][1]
        for row in json.loads(BENCH.read_text())
    }
    names = [name for name in (*PAPER, MODEL) if name in rates]
    pixels = 0.0
    sheets = [sheet for sheet in catalog.datasets() if sheet.counts and sheet.name != "digits"]
    for sheet in sheets:
        train = sheet.counts["train"] - (0 if "val" in sheet.counts else sheet.counts["train"] // 10)
        val = sheet.counts.get("val", sheet.counts["train"] // 10)
        epochs = recipes.default_epochs(max(1, train // 32))
        looks = epochs * (train + val / 3) + sheet.counts["test"] / 3
        pixels += looks * sheet.image_size[0] * sheet.image_size[1]
    hours = {name: 3 * pixels / rates[name] / 3600 for name in names}
    runs = 3 * len(sheets) * len(names)
    return {
        "datasets": len(sheets), "backbones": len(names), "seeds": 3, "runs": runs, "hours_by_backbone": hours,
        "hours": {str(machines): sum(hours.values()) / machines for machines in (1, 8, 64)},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=2, help="of the comparison with a shell (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "sweep_overhead.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = {
            "skipping": skipping(folder),
            "scaling": scaling(folder),
            "seconds": overhead(folder, options.rounds),
        }
    told |= provenance.collect(torch.device("cpu"), "fp32")
    write_json(options.out, told)


if __name__ == "__main__":
    main()
