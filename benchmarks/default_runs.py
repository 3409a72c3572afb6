"""The runs of the default recipe in `results/recipes.jsonl`, by dataset and training images, and which images each classifies correctly."""

import base64
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy import ndarray

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
RECIPES = RESULTS / "recipes.jsonl"
RECIPE = {"head": "probe", "bn": "pretrained", "lr": 3e-4}
FROM_RANDOM = {"head": "random", "bn": "batch", "lr": 2e-3}
LENGTHS = (25, 100, 300)  # steps
PROBE = {"head": "probe", "steps": 0}
RANDOM = " from random weights"
MIN_NETWORKS = 3  # of a dataset
JITTER = 0.25  # SD, against an image's difficulty of 0 to 1, of which images a run without bits has right
Key = tuple[str, int, int]  # candidate, steps (0: the probe), seed


@dataclass(frozen=True)
class Dataset:
    """The candidates with a probe and a run of every length with one seed."""

    data: str
    shots: int | None  # training images per class; None: all
    names: Sequence[str]
    steps: Sequence[int]
    rows: dict[Key, dict]

    @property
    def title(self) -> str:
        return f"{self.data}, {self.shots} per class" if self.shots else self.data

    def seeds(self, name: str, steps: int) -> list[int]:
        return sorted(seed for n, s, seed in self.rows if (n, s) == (name, steps))

    def score(self, name: str, steps: int, part: str) -> float:
        """Mean over seeds, in points."""
        return 100 * float(np.mean([self.rows[name, steps, seed][f"{part}_top1"] for seed in self.seeds(name, steps)]))

    @property
    def full(self) -> int:
        return self.steps[-1]

    @property
    def truth(self) -> ndarray:
        """(K,) test scores of the full runs, in points."""
        return np.array([self.score(name, self.full, "test") for name in self.names])

    @property
    def probe(self) -> list[float]:
        """On validation, as fractions."""
        return [self.rows[name, 0, 0]["val_top1"] for name in self.names]

    def right(self, key: Key, part: str, rng: np.random.Generator) -> ndarray:
        """(N,) 0 or 1 per image; of a run without bits the easiest images, as far as other runs tell, up to chance."""
        row = self.rows[key]
        if f"{part}_right" in row:
            return bits(row, part)
        noisy = self.easiness[part] + rng.normal(0, JITTER, len(self.easiness[part]))
        found = np.zeros(len(noisy))
        found[np.argsort(-noisy)[: round(row[f"{part}_top1"] * len(noisy))]] = 1
        return found

    @cached_property
    def easiness(self) -> dict[str, ndarray]:
        """(N,) of each part: the fraction of runs that have an image right."""
        return {
            part: np.mean([bits(row, part) for row in self.rows.values() if f"{part}_right" in row], 0)
            for part in ("val", "test")
        }


def candidate(network: str, config: dict) -> str:
    """The network, with its image size or its initial weights if they are not the usual ones."""
    size = f" at {config['side']} pixels" if "side" in config else ""
    return network + size + (RANDOM if "weights" in config else "")


def network(candidate: str) -> str:
    return candidate.partition(" ")[0]


def bits(row: dict, part: str) -> ndarray:
    """(N,) 0 or 1 per image, of a row with bits."""
    packed = np.unpackbits(np.frombuffer(base64.b64decode(row[f"{part}_right"]), np.uint8))
    return packed[: round(packed.sum() / row[f"{part}_top1"])].astype(float)


def load(path: Path = RECIPES, variants: bool = False) -> list[Dataset]:
    """Those with all training images first. `variants`: networks at another image size and from random weights are candidates, too."""
    found: dict[tuple[str, int | None], dict[Key, dict]] = defaultdict(dict)
    for row in map(json.loads, path.read_text("utf-8").splitlines()):
        form = {name: row["config"][name] for name in ("shots", "side", "weights") if name in row["config"]}
        config = {name: value for name, value in row["config"].items() if name not in form}
        shots = form.pop("shots", None)
        recipe = FROM_RANDOM if "weights" in form else RECIPE
        if config in (PROBE, *({**recipe, "steps": steps} for steps in LENGTHS)) and (variants or not form):
            found[row["data"], shots][candidate(row["network"], form), config["steps"], row["seed"]] = row
    datasets = []
    for (data, shots), rows in sorted(found.items(), key=lambda item: item[0][1] or math.inf, reverse=True):
        names = list(dict.fromkeys(name for name, _, _ in rows))
        steps = sorted({steps for _, steps, _ in rows if steps})
        complete = [name for name in names if {(name, s, 0) for s in (0, *steps)} <= rows.keys()]
        if len(complete) >= MIN_NETWORKS and any("val_right" in row for row in rows.values()):
            datasets.append(Dataset(data, shots, complete, steps, rows))
    return datasets
