"""Which images have an orientation, and what do quarter turns in training gain where they have none?

    python benchmarks/orientation.py --data FOLDER

Measures the training images of `recipes.py`, as `folder.py` does before it trains; a line of `--out` per dataset. The gain is
that of the stage `augment` of `recipes.py`.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch

from benchmarks import recipes
from common.run.augment import MAX_IMAGES
from common.transfer import orientation
from common.transfer.small_network import small_extractor


def main() -> None:
    parser = argparse.ArgumentParser(description="measure the orientation of images")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/orientation.jsonl")
    args = parser.parse_args()
    torch.set_num_threads(1)
    extractor = small_extractor()
    pixels = extractor.preprocess
    lines = []
    for bench in recipes.BENCHMARKS:
        parts, _, _ = recipes.load(bench, args.data, pixels.mean, pixels.std, pixels.interpolation)
        train = parts["train"]
        drawn = np.random.default_rng(0).permutation(len(train.labels))[:MAX_IMAGES]
        labels = np.unique(train.labels[drawn], return_inverse=True)[1]
        features = orientation.turned_features(extractor, train.pixels[drawn])
        lines.append(json.dumps({"data": bench, **orientation.measure(features, labels, None)}))
        print(lines[-1], flush=True)
    args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
