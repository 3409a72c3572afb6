"""Are the results of a sweep bit-identical after ten SIGKILLs? 24 short runs on real images against an uninterrupted sweep.

    python benchmarks/sweep_killed.py --data DIR

DIR holds the folders ucmerced, plantvillage, flowers102 and cifar10, complete or subsets. Two EfficientNet-Lites from
ImageNet weights, three seeds, twelve steps, two runs at a time on one thread each. Each kill goes to the whole process
group, after a random time.
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

import torch

from common.run import provenance
from common.run.results import write_json

DATASETS = ("ucmerced", "plantvillage", "flowers102", "cifar10")
MODELS = ("efficientnet_lite0", "efficientnet_lite1")
SEEDS = ("0", "1", "2")
SHORT = "--subset --image_size 64 -bs 16 --steps 12 --eval_every 4 --save_every 2".split()
WORKERS = ("--workers", "2")
KILLS = 10
TIMES = ("train_seconds", "data_seconds", "train_images_per_second")
RUNS = len(DATASETS) * len(MODELS) * len(SEEDS)


def command(data: Path, out: Path, *options: str, datasets=DATASETS, seeds=SEEDS) -> list[str]:
    grid = ["--datasets", *datasets, "--models", *MODELS, "--seeds", *seeds, "--data", str(data)]
    sweep = [sys.executable, "-m", "common", "sweep", *grid, "--out", str(out), "--threads", "1", "--quiet"]
    return [*sweep, *options, *SHORT]


def results_of(out: Path) -> dict[str, tuple]:
    """By run folder, everything that must not depend on interruptions."""
    found = {}
    for folder in sorted(path.parent for path in out.glob("*/result.json")):
        result = json.loads((folder / "result.json").read_text())
        log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        log = [{key: value for key, value in record.items() if key not in TIMES} for record in log]
        bits = [(folder / name).read_bytes() for name in ("best.safetensors", "test_logits.npy", "split.csv")]
        found[folder.name] = (bits, log, result["test"])
    return found


def kill_repeatedly(data: Path, out: Path, longest: float) -> list[dict[str, float]]:
    """Start the sweep and kill it, `KILLS` times; the seconds of each start, and the runs finished by then."""
    rng, kills = random.Random(0), []
    for _ in range(KILLS):
        sweep = subprocess.Popen(
            command(data, out, *WORKERS),
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seconds = rng.uniform(longest / 4, longest)
        time.sleep(seconds)
        too_late = sweep.poll() is not None
        if not too_late:
            os.killpg(sweep.pid, signal.SIGKILL)
        sweep.wait()
        finished = len(list(out.glob("*/result.json")))
        kills.append({"seconds": seconds, "finished": finished, "too_late": too_late})
        print(kills[-1], flush=True)
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "sweep_killed.json")
    options = parser.parse_args()
    data = options.data.absolute()
    with tempfile.TemporaryDirectory() as folder:
        reference, killed = Path(folder) / "reference", Path(folder) / "killed"
        start = time.perf_counter()
        subprocess.run(command(data, reference, *WORKERS), cwd=ROOT, check=True)
        seconds = time.perf_counter() - start
        kills = kill_repeatedly(data, killed, longest=seconds / 10)
        subprocess.run(command(data, killed, *WORKERS), cwd=ROOT, check=True)
        expected, found = results_of(reference), results_of(killed)
        resumed = [json.loads(path.read_text())["resumed_at"] for path in killed.glob("*/result.json")]
    assert len(expected) == RUNS
    result = {
        "runs": RUNS,
        "kills": kills,
        "undisturbed_seconds": seconds,
        "resumed_runs": sum(bool(steps) for steps in resumed),
        "same_runs": expected.keys() == found.keys(),
        "same_bits": sum(expected[name] == found.get(name) for name in expected),
        **provenance.collect(torch.device("cpu"), "fp32"),
    }
    del result["command"]
    write_json(options.out, result)
    print({name: result[name] for name in ("runs", "resumed_runs", "same_runs", "same_bits")})


if __name__ == "__main__":
    main()
