"""Which neighbourhoods are in datasets, what do they cost in points, and how often is the test for them wrong?

    python benchmarks/leaks.py --data ../shared/data --cases ../shared/cases [--full DIR] [--out benchmarks/results/leaks.jsonl]

Seconds to minutes per dataset on one core. `--table` prints the tables of --out. Datasets that are not there are skipped.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.cli import catalog
from common.data.groups.candidates import candidates
from common.data.readers import image_folder
from common.data.splits.splits import present_classes
from common.spec import Samples
from common.transfer import group_test, grouping

# Folders relative to --full, --data or the cases; a sheet's name where the classes are not folders
DATASETS = {
    "clips": ("clips", None),
    "UC Merced": ("ucmerced/UCMerced_LandUse/Images", None),
    "PlantVillage, 8 classes x 400": ("plantvillage_sequence/PlantVillage", None),
    "Flowers-102": ("flowers102", "flowers102"),
    "EuroSAT": ("eurosat/eurosat/2750", None),
    "CUB-200, 100 classes x 15": ("cub200_small/CUB_200_2011/images", None),
    "Tiny ImageNet, 10 classes": ("tinyimagenet_small/tiny-imagenet-200/train", None),
}
PERMUTATIONS = 40  # of the groups within each class: any drop is a false alarm
SIZES = (300, 600, 1200)  # images for the power
DRAWS = 10  # subsets of a size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--cases", type=Path, default=Path("../shared/cases"), help="folder of make.py, which writes `clips`"
    )
    parser.add_argument(
        "--full", type=Path, default=Path("data"), help="folder of complete datasets, preferred"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/leaks.jsonl"))
    parser.add_argument("--table", action="store_true", help="print the tables of --out and exit")
    options = parser.parse_args()
    if options.table:
        print_tables([json.loads(line) for line in options.out.read_text("utf-8").splitlines()])
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if (options.cases / "make.py").exists():
            subprocess.run([sys.executable, options.cases / "make.py", Path(folder, "cases")], check=True)
        for title, (path, sheet) in DATASETS.items():
            roots = [base / path for base in (options.full, options.data, Path(folder, "cases"))]
            if root := next((root for root in roots if root.is_dir()), None):
                rows += measure(title, read(root, sheet))
                print(json.dumps(rows[-1]), flush=True)
    options.out.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    print_tables(rows)


def read(root: Path, sheet: str | None) -> Samples:
    samples = catalog.find(sheet).load(root, catalog.find(sheet).classes) if sheet else image_folder(root)
    return present_classes(samples)


def measure(title: str, samples: Samples) -> Iterator[dict]:
    """One row per grouping; then one for the false alarms and one for the power of the first that matters."""
    started, pixels = time.process_time(), grouping.preprocess_for_probe()
    sample = grouping.sample_blocks(samples, grouping.LIMITS[-1])
    tried = candidates(samples)
    found = grouping.probe_features(samples.images, sample, pixels, offline=True)
    features = np.stack([found[i] for i in sample])
    labels = np.unique(np.asarray(samples.labels)[sample], return_inverse=True)[1]
    groups = [np.unique(np.asarray(c.groups)[sample], return_inverse=True)[1] for c in tried]
    tested = [k for k, each in enumerate(groups) if group_test.testable(labels, each) is not None]
    drops = group_test.test_groupings(features, labels, [groups[k] for k in tested])
    about = {"dataset": title, "images": len(sample), "classes": int(labels.max()) + 1}
    about["cpu_seconds"] = round(time.process_time() - started, 1)
    for k, drop in zip(tested, drops, strict=True):
        yield {**about, "grouping": tried[k].text, "groups": int(groups[k].max()) + 1, **asdict(drop)}
    yield {**about, "false_alarms": false_alarms(features, labels, groups[tested[-1]])}
    certain = [k for k, drop in zip(tested, drops, strict=True) if drop.low > grouping.MIN_DROP]
    if certain and len(sample) > SIZES[0]:
        yield {
            **about,
            "grouping": tried[certain[0]].text,
            "power": power(features, labels, groups[certain[0]]),
        }


def false_alarms(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict[str, int]:
    """How many intervals leave out 0, and lie above the smallest drop that matters, for groups of random images."""
    rng = np.random.default_rng(0)
    shuffled = [group_test.permute(labels, groups, rng) for _ in range(PERMUTATIONS)]
    drops = group_test.test_groupings(features, labels, shuffled, correct=False)
    return {
        "of": PERMUTATIONS,
        "leave_out_0": sum(drop.low > 0 or drop.high < 0 for drop in drops),
        "matter": sum(drop.low > grouping.MIN_DROP for drop in drops),
    }


def power(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict[int, float]:
    """{images: fraction of subsets of whole groups in which the grouping is found to matter}"""
    found = {}
    for size in (size for size in SIZES if size < len(labels)):
        hits = 0
        for seed in range(DRAWS):
            order = np.random.default_rng(seed).permutation(groups.max() + 1)[groups]
            part = np.argsort(order, kind="stable")[:size]
            present, each = (np.unique(values[part], return_inverse=True)[1] for values in (labels, groups))
            (drop,) = group_test.test_groupings(features[part], present, [each])
            hits += drop is not None and drop.low > grouping.MIN_DROP
        found[size] = hits / DRAWS
    return found


def print_tables(rows: list[dict]) -> None:
    print("| images | groups | random | whole groups | drop |\n|---|---|---|---|---|")
    for row in rows:
        if "mixed" in row:
            drop = f"{row['mixed'] - row['apart']:+.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            groups = f"{row['groups']:,} {row['grouping'].removeprefix('that share ').removeprefix('in ')}"
            print(
                f"| {row['dataset']}, {row['images']:,} | {groups} | {row['mixed']:.3f} | {row['apart']:.3f} | {drop} |"
            )
    print(
        "\n| groups of random images | intervals that leave out 0 | that lie above one point |\n|---|---|---|"
    )
    for row in rows:
        if alarms := row.get("false_alarms"):
            print(
                f"| {row['dataset']} | {alarms['leave_out_0']} of {alarms['of']} | {alarms['matter']} of {alarms['of']} |"
            )
    sizes = " | ".join(f"{size:,}" for size in SIZES)
    print(f"\n| found to matter, of subsets with images | {sizes} |\n|---|{'---|' * len(SIZES)}")
    for row in rows:
        if "power" in row:
            cells = " | ".join(str(row["power"].get(size, row["power"].get(str(size), ""))) for size in SIZES)
            print(f"| {row['dataset']}, {row['grouping']} | {cells} |")


if __name__ == "__main__":
    main()
