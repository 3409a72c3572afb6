"""Do real ImageNet weights know real photographs through our own preprocessing?

    python benchmarks/imagenet_check.py ../shared/data/imagenet_check_small/val

The folder holds one folder per WordNet id, every `--every`-th of the sorted 1,000. These pictures are probably training
pictures: the figure says that weights, class order and preprocessing fit together, not how good the network is.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.data.images.decode import decode  # noqa: E402
from common.data.loader import Batches  # noqa: E402
from common.data.readers import image_files  # noqa: E402
from common.metrics import classification  # noqa: E402
from common.models import build, weights  # noqa: E402
from common.run import provenance  # noqa: E402
from common.statistics import intervals  # noqa: E402
from common.training.device import make_accelerator  # noqa: E402
from common.training.evaluate import evaluate  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="ImageNet weights on ImageNet pictures")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("-model", "--model", default="efficientnet_lite0")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/imagenet_check.json")
    options = parser.parse_args()

    row = build.get_backbone(options.model)
    device = make_accelerator("auto", "fp32", row.cpu_bf16)
    net = build.create_model(
        row, 1000, weights.load_weights(row, "imagenet", offline=True)[0], keep_head=True
    ).to(device.device)
    wnids = sorted(folder.name for folder in options.folder.iterdir())
    rows = [
        (path, options.every * i)
        for i, name in enumerate(wnids)
        for path, _ in image_files(options.folder / name)
    ]
    preprocess = row.preprocess()
    pixels, _ = decode([path for path, _ in rows], preprocess, None)
    labels = np.array([label for _, label in rows])
    batches = Batches(
        pixels=pixels,
        labels=labels,
        indices=np.arange(len(rows)),
        preprocess=preprocess,
        batch_size=32,
        device=device.device,
    )
    logits = evaluate(net, batches, device)

    def top(weights: np.ndarray) -> dict[str, float]:
        order = np.argsort(-logits, axis=1)
        return {
            f"top{k}": float(weights @ (order[:, :k] == labels[:, None]).any(1) / weights.sum())
            for k in (1, 5)
        }

    scores, found = top(np.ones(len(rows))), intervals.bootstrap(top, len(rows), seed=0)
    assert scores["top1"] == classification.score(logits, labels)["top1"]
    result = {
        "backbone": row.name,
        "n": len(rows),
        **{name: {"value": scores[name], "interval": found[name]} for name in scores},
        **provenance.collect(device.device, "fp32"),
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{row.name}: top1 {100 * scores['top1']:.1f} %, top5 {100 * scores['top5']:.1f} % of {len(rows)} pictures"
    )


if __name__ == "__main__":
    main()
