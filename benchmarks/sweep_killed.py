"""A sweep of 24 short runs on real images, killed ten times as a whole, against an undisturbed one: the same bits?

    python benchmarks/sweep_killed.py --data DIR

DIR holds ucmerced, plantvillage, flowers102 and cifar10 as the scripts want them; subsets will do. Two
EfficientNet-Lites from ImageNet weights, three seeds, twelve steps, two runs at a time on one thread each. Every
kill is SIGKILL to the sweep and all that it has started, after a random time.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from common.run import provenance  # noqa: E402
from common.run.results import write_json  # noqa: E402

DATASETS = ("ucmerced", "plantvillage", "flowers102", "cifar10")
MODELS = ("efficientnet_lite0", "efficientnet_lite1")
SEEDS = ("0", "1", "2")
SHORT = (
    "--subset",
    "--image_size",
    "64",
    "-bs",
    "16",
    "--steps",
    "12",
    "--eval_every",
    "4",
    "--save_every",
    "2",
)
KILLS = 10
TWO = ("--workers", "2")
TIMES = ("train_seconds", "data_seconds", "train_images_per_second")
RUNS = len(DATASETS) * len(MODELS) * len(SEEDS)


def command(data: Path, out: Path, *options: str, datasets=DATASETS, seeds=SEEDS) -> list[str]:
    what = [
        "--datasets",
        *datasets,
        "--models",
        *MODELS,
        "--seeds",
        *seeds,
        "--data",
        str(data),
        "--out",
        str(out),
    ]
    return [sys.executable, "-m", "common", "sweep", *what, "--threads", "1", "--quiet", *options, *SHORT]


def ends(out: Path) -> dict[str, tuple]:
    """By the run's name: all that must not depend on breaks."""
    found = {}
    for folder in sorted(path.parent for path in out.glob("*/result.json")):
        result = json.loads((folder / "result.json").read_text())
        records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        told = [{k: v for k, v in record.items() if k not in TIMES} for record in records]
        bits = [(folder / name).read_bytes() for name in ("best.safetensors", "test_logits.npy", "split.csv")]
        found[folder.name] = (bits, told, result["test"])
    return found


def killed(data: Path, out: Path, longest: float) -> list[dict[str, float]]:
    """Start the sweep and kill it, again and again; returns after how many seconds, and how many runs stood then."""
    dice, kills = random.Random(0), []
    for _ in range(KILLS):
        sweep = subprocess.Popen(
            command(data, out, *TWO),
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        lived = dice.uniform(longest / 4, longest)
        time.sleep(lived)
        over = sweep.poll() is not None
        if not over:
            os.killpg(sweep.pid, signal.SIGKILL)
        sweep.wait()
        kills.append({"seconds": lived, "finished": len(list(out.glob("*/result.json"))), "too_late": over})
        print(kills[-1], flush=True)
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "sweep_killed.json")
    options = parser.parse_args()
    data = options.data.absolute()
    with tempfile.TemporaryDirectory() as folder:
        whole, broken = Path(folder) / "whole", Path(folder) / "broken"
        started = time.perf_counter()
        subprocess.run(command(data, whole, *TWO), cwd=ROOT, check=True)
        undisturbed = time.perf_counter() - started
        kills = killed(data, broken, longest=undisturbed / 10)
        subprocess.run(command(data, broken, *TWO), cwd=ROOT, check=True)
        expected, found = ends(whole), ends(broken)
        resumed = [json.loads(path.read_text())["resumed_at"] for path in broken.glob("*/result.json")]
    assert len(expected) == RUNS
    told = {
        "runs": RUNS,
        "kills": kills,
        "undisturbed_seconds": undisturbed,
        "runs_gone_on_with": sum(bool(steps) for steps in resumed),
        "same_runs": expected.keys() == found.keys(),
        "same_bits": sum(expected[name] == found.get(name) for name in expected),
        **provenance.collect(torch.device("cpu"), "fp32"),
    }
    del told["command"]
    write_json(options.out, told)
    print({name: told[name] for name in ("runs", "runs_gone_on_with", "same_runs", "same_bits")})


if __name__ == "__main__":
    main()
