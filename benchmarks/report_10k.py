"""Seconds of a report of 10,000 results: 20 datasets, 10 backbones, 50 seeds, fabricated in a temporary folder.

    python benchmarks/report_10k.py

Every run folder has what the report reads: a result of real size, ten epochs, 400 predictions of ten classes. Reading is
timed separately; the command, in its own process, once without and once with predictions.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.metrics import classification
from common.models.registry import BACKBONES
from common.report.runs import load_runs
from common.run import provenance, results
from common.run.predictions import RunPredictions, write_confusion, write_predictions

DATASETS, SEEDS, IMAGES, CLASSES = 20, 50, 400, tuple("abcdefghij")


def fabricate(runs: Path) -> int:
    """Write run folders without predictions; returns their number."""
    real = json.loads((ROOT / "results" / "runs.jsonl").read_text().splitlines()[0])
    epochs = real.pop("epochs")
    log = "".join(f"{json.dumps({**epochs[i % len(epochs)], 'epoch': i + 1})}\n" for i in range(10))
    rng = np.random.default_rng(0)
    for d in range(DATASETS):
        for row in BACKBONES[:10]:
            skill = rng.normal(0.8, 0.05)
            for seed in range(SEEDS):
                folder = runs / f"d{d:02}-{row.name}-s{seed}"
                folder.mkdir(parents=True)
                value = float(skill + rng.normal(0, 0.01))
                top1 = {"value": value, "interval": [value - 0.02, value + 0.02]}
                split = {**real["split"], "fingerprint": f"{d:08}{seed:08}", "test": IMAGES}
                changes = {
                    "dataset": f"d{d:02}", "backbone": row.name, "weights": row.weights, "seed": seed, "split": split,
                    "subset": False, "test": {**real["test"], "top1": top1}, "command": "eurosat.py",
                }  # fmt: skip
                results.write_json(folder / results.CONFIG, {})
                results.write_json(folder / results.RESULT, {**real, **changes})
                (folder / "log.jsonl").write_text(log)
    return sum(1 for _ in runs.iterdir())


def predict(runs: Path) -> None:
    """Write predictions to all of them, four fifths correct."""
    rng = np.random.default_rng(0)
    labels = np.arange(IMAGES) % len(CLASSES)
    names = [f"{CLASSES[label]}/{i:05}.jpg" for i, label in enumerate(labels)]
    for folder in runs.iterdir():
        logits = rng.normal(size=(IMAGES, len(CLASSES))).astype(np.float32)
        logits[np.arange(IMAGES), labels] += np.where(rng.random(IMAGES) < 0.8, 5, 0)
        write_predictions(folder, RunPredictions(tuple(names), labels, CLASSES, logits))
        write_confusion(folder, classification.confusion(logits, labels), CLASSES)


def page(runs: Path, out: Path) -> dict[str, float]:
    """Wall-clock and CPU seconds of the command, and the size of its page."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "common", "report", str(runs), "-o", str(out / "report.html")]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "bytes": (out / "report.html").stat().st_size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/report_10k.json")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        result = {"results": fabricate(runs), "machine": provenance.cpu_name()}
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            load_runs([runs])
            seconds.append(time.perf_counter() - start)
        result |= {"read, seconds": seconds, "page without predictions": page(runs, Path(folder) / "a")}
        predict(runs)
        result["page with predictions"] = page(runs, Path(folder) / "b")
    results.write_json(out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
