"""Seconds to split 100,000 names, with and without groups.

    python benchmarks/split_100k.py --out benchmarks/results/split_100k.json

A hundred classes; a group is a patient: one to twelve images of one to three classes. Includes the test holdout, the validation
split and the fingerprint. Goal: under two seconds, without torch.
"""

import argparse
import json
import platform
import random
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import eurosat
from common import Samples
from common.data.splits import splits
from common.run.provenance import cpu_name

IMAGES, CLASSES, REPEATS = 100_000, 100, 5


def samples() -> Samples:
    rng = random.Random(0)
    names, labels, groups = [], [], []
    while len(names) < IMAGES:
        patient, some = f"patient_{len(names):06d}", rng.sample(range(CLASSES), rng.randint(1, 3))
        for _ in range(min(rng.randint(1, 12), IMAGES - len(names))):
            labels.append(rng.choice(some))
            names.append(f"class_{labels[-1]:02d}/image_{len(names):06d}.jpg")
            groups.append(patient)
    classes = tuple(f"class_{c:02d}" for c in range(CLASSES))
    return Samples(images=names, names=names, labels=labels, classes=classes, groups=groups)


def seconds(samples: Samples) -> float:
    """The median of several splits, each with another seed."""
    taken = []
    for seed in range(REPEATS):
        start = time.perf_counter()
        splits.split(eurosat.DATASET, samples, seed)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description="time the split of 100,000 names")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/split_100k.json")
    out = parser.parse_args().out
    grouped = samples()
    result = {
        "hardware": cpu_name(),
        "python": platform.python_version(),
        "images": IMAGES,
        "groups": len(set(grouped.groups)),
        "seconds_with_groups": round(seconds(grouped), 3),
        "seconds_without_groups": round(seconds(replace(grouped, groups=None)), 3),
        "torch": "torch" in sys.modules,
    }
    print(", ".join(f"{name} {value}" for name, value in result.items()))
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
