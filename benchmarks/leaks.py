"""Which neighbourhoods are in datasets, what do they cost in points, and how often is the test for them wrong?

    python benchmarks/leaks.py --data ../shared/data --cases ../shared/cases [--full DIR] [--out benchmarks/results/leaks.jsonl]

About a minute per dataset on one core, one more for the power. Datasets that are not there are skipped, as are those in
--out already; `benchmarks/readme.py` writes the tables.
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
from common.data.checks.image_stats import ImageStats, image_stats
from common.data.checks.shortcuts import MAX_IMAGES, find_shortcuts
from common.data.groups.candidates import candidates
from common.data.readers import image_folder
from common.data.splits.splits import present_classes
from common.spec import Samples
from common.transfer import group_test, grouping

NOISE = "told_by_format (noise; one class PNG, one JPEG)"
# Folders relative to --full, --data or the cases; a sheet's name where the classes are not folders
DATASETS = {
    "clips (two classes nobody can tell apart)": ("clips", None),
    NOISE: ("told_by_format", None),
    "UC Merced, 21 classes x 4": ("ucmerced_small/UCMerced_LandUse/Images", None),
    "PlantVillage, 8 classes x 400": ("plantvillage_sequence/PlantVillage", None),
    "Flowers-102": ("flowers102", "flowers102"),
    "EuroSAT": ("eurosat/eurosat/2750", None),
    "CUB-200, 100 classes x 15": ("cub200_small/CUB_200_2011/images", None),
    "Tiny ImageNet, 50 classes x 70": ("tiny/folder", None),
}
SIMULATED_ON = "EuroSAT"  # whose own neighbours make no difference
PERMUTATIONS = 40  # of the groups within each class: any drop is a false alarm
SIZES = (300, 1000, 3000)  # images for the power
STRENGTHS = (0.1, 0.15, 0.2, 0.4)  # SD over groups of each feature, relative to its SD over images
GROUP = 10  # images
PER_CLASS = 100  # images at least; of fewer images fewer classes
DRAWS = 20  # simulations of a strength and size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--cases", type=Path, default=Path("../shared/cases"), help="folder of make.py, which writes `clips`"
    )
    parser.add_argument("--full", type=Path, default=Path("data"), help="folder of complete datasets, preferred")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/leaks.jsonl"))
    options = parser.parse_args()
    finished = {json.loads(line)["dataset"] for line in options.out.open()} if options.out.exists() else set()
    with tempfile.TemporaryDirectory() as folder:
        if (options.cases / "make.py").exists():
            subprocess.run([sys.executable, options.cases / "make.py", Path(folder, "cases")], check=True)
        for title, (path, sheet) in DATASETS.items():
            roots = [base / path for base in (options.full, options.data, Path(folder, "cases"))]
            root = next((root for root in roots if root.is_dir()), None)
            if root and title not in finished:
                lines = [json.dumps({"dataset": title, **row}) for row in measure(title, read(root, sheet))]
                print("\n".join(lines), flush=True)
                with options.out.open("a", encoding="utf-8") as file:
                    file.write("".join(f"{line}\n" for line in lines))


def read(root: Path, sheet: str | None) -> Samples:
    samples = catalog.find(sheet).load(root, catalog.find(sheet).classes) if sheet else image_folder(root)
    return present_classes(samples)


def measure(title: str, samples: Samples) -> Iterator[dict]:
    """A row of the baselines, one per grouping, one of the false alarms, one of the power."""
    yield {"baselines": baselines(samples)}
    started = time.process_time()
    sample = grouping.sample_blocks(samples, grouping.LIMITS[-1])
    pixels = grouping.preprocess_for_probe()
    found = grouping.probe_features(samples.images, sample, pixels, offline=True, cache=True)
    features = np.stack([found[i] for i in sample])
    labels = np.unique(np.asarray(samples.labels)[sample], return_inverse=True)[1]
    tried = candidates(samples)
    groups = [np.unique(np.asarray(each.groups)[sample], return_inverse=True)[1] for each in tried]
    drops = group_test.test_groupings(features, labels, groups)
    shape = {"images": len(sample), "classes": int(labels.max()) + 1}
    shape["cpu_seconds"] = round(time.process_time() - started, 1)
    tested = [k for k, drop in enumerate(drops) if drop]
    for k in tested:
        n_groups = int(groups[k].max()) + 1
        yield {**shape, "grouping": tried[k].text, "groups": n_groups, **asdict(drops[k])}
    if tested:
        yield {**shape, "false_alarms": false_alarms(features, labels, groups[tested[-1]])}
    if title == SIMULATED_ON:
        for size in SIZES:
            for strength in STRENGTHS:
                yield {"power": simulate(features, labels, size, strength)}


def baselines(samples: Samples) -> dict | None:
    """What `check` prints: cross-validated balanced accuracies without the object."""
    generator = np.random.default_rng(0)
    positions = np.sort(generator.permutation(len(samples))[:MAX_IMAGES]).tolist()
    stats = image_stats([samples.images[i] for i in positions])
    readable = {i: s for i, s in zip(positions, stats, strict=True) if isinstance(s, ImageStats)}
    found = find_shortcuts(samples, readable)[0]
    return found and asdict(found)


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


def simulate(features: np.ndarray, labels: np.ndarray, size: int, strength: float) -> dict:
    """The mean drop, and how often it is found to matter, of groups of `GROUP` random images of a class that share a random
    direction in the space of the features."""
    estimates, n_found = [], 0
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        n_classes = min(labels.max() + 1, size // PER_CLASS)
        members = [rng.permutation(np.flatnonzero(labels == label)) for label in range(n_classes)]
        part = np.concatenate([m[: size // n_classes // GROUP * GROUP] for m in members])
        groups = np.arange(len(part)) // GROUP
        directions = rng.normal(size=(groups[-1] + 1, features.shape[1])) * features.std(0)
        moved = features[part] + strength * directions[groups]
        present = np.unique(labels[part], return_inverse=True)[1]
        (drop,) = group_test.test_groupings(moved, present, [groups])
        estimates.append(drop.estimate)
        n_found += drop.low > grouping.MIN_DROP
    return {"images": size, "strength": strength, "drop": float(np.mean(estimates)), "found": n_found, "of": DRAWS}


def groups_table(rows: list[dict]) -> str:
    lines = ["| images | groups | random | whole groups | drop |", "|---|---|---|---|---|"]
    for row in rows:
        if "mixed" in row:
            drop = f"{100 * (row['mixed'] - row['apart']):.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
            kind = row["grouping"].removeprefix("that share ").removeprefix("in ")
            lines.append(
                f"| {row['dataset']}, {row['images']:,} | {row['groups']:,}: {kind} | {100 * row['mixed']:.1f} | "
                f"{100 * row['apart']:.1f} | {drop} |"
            )
    return "\n".join(lines)


def scores_table(rows: list[dict]) -> str:
    """Per dataset the grouping with the largest drop."""
    rows = [row for row in rows if row["dataset"] != NOISE]
    lines = ["| images | groups | random | whole groups | drop |", "|---|---|---|---|---|"]
    found = {}
    for row in sorted((row for row in rows if "mixed" in row), key=lambda row: row["mixed"] - row["apart"]):
        found[row["dataset"]] = row
    for name in dict.fromkeys(row["dataset"] for row in rows if row["dataset"] in found):
        row = found[name]
        kind = row["grouping"].removeprefix("that share ").removeprefix("in ")
        drop = f"{100 * (row['mixed'] - row['apart']):.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
        lines.append(
            f"| {name}, {row['images']:,} images | {kind} | {100 * row['mixed']:.1f} | {100 * row['apart']:.1f} | {drop} |"
        )
    return "\n".join(lines)


def baselines_table(rows: list[dict]) -> str:
    names = ("file metadata", "border pixels", "colours")
    lines = [f"| images | classes | chance | {' | '.join(names)} |", "|---" * (3 + len(names)) + "|"]
    for row in rows:
        if found := row.get("baselines"):
            scores = (f"{100 * found['scores'][name]:.1f}" for name in names)
            chance = f"{100 / found['n_classes']:.1f}"
            lines.append(
                f"| {row['dataset']}, {found['n']:,} | {found['n_classes']} | {chance} | {' | '.join(scores)} |"
            )
    return "\n".join(lines)


def false_alarms_table(rows: list[dict]) -> str:
    lines = ["| groups of random images | intervals that leave out 0 | that lie above one point |", "|---|---|---|"]
    found = {row["dataset"]: row["false_alarms"] for row in rows if "false_alarms" in row}
    for name, n in found.items():
        lines.append(f"| {name} | {n['leave_out_0']} of {n['of']} | {n['matter']} of {n['of']} |")
    total = {key: sum(n[key] for n in found.values()) for key in ("leave_out_0", "matter", "of")}
    lines.append(f"| all | {total['leave_out_0']} of {total['of']} | {total['matter']} of {total['of']} |")
    return "\n".join(lines)


def power_table(rows: list[dict]) -> str:
    found = {(row["power"]["strength"], row["power"]["images"]): row["power"] for row in rows if "power" in row}
    sizes = sorted({size for _, size in found})
    lines = [f"| strength | {' | '.join(f'{size:,} images' for size in sizes)} |", "|---" * (1 + len(sizes)) + "|"]
    for strength in sorted({strength for strength, _ in found}):
        each = [found[strength, size] for size in sizes]
        cells = (f"{100 * one['drop']:.1f} points, found in {one['found']} of {one['of']}" for one in each)
        lines.append(f"| {strength:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
