"""A dataset larger than the memory trains: a process that may own 2.5 GB, and 4 GB of decoded images.

    python benchmarks/larger_than_memory.py

The limit is RLIMIT_DATA: memory of the process' own, not pages of files that it maps, which the system takes back when
it needs them. With the cache the run must end; the same command with --no_cache must not, or the limit proves nothing.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.run.provenance import cpu_name  # noqa: E402
from common.run.results import write_json  # noqa: E402

SIDE = 512
TINY = [
    "-model",
    "timm:test_resnet",
    "--weights",
    "none",
    "--image_size",
    str(SIDE),
    "-bs",
    "4",
    "--epochs",
    "1",
]


def main() -> None:
    parser = argparse.ArgumentParser(description="train on more pixels than the process may hold")
    parser.add_argument("--limit", type=float, default=2.5, help="GB of the process' own memory")
    parser.add_argument("--images", type=int, default=5200, help="of 0.8 MB each, decoded")
    options = parser.parse_args()
    decoded = options.images * SIDE * SIDE * 3
    with tempfile.TemporaryDirectory() as folder:
        pictures(Path(folder, "images"), options.images)
        os.environ["CLASH_CACHE"] = f"{folder}/cache"

        def run(name: str, *more: str) -> subprocess.CompletedProcess:
            command = ["folder.py", "--data_dir", f"{folder}/images", "--offline", *TINY, *more]
            return subprocess.run(
                [sys.executable, *command, "--out", f"{folder}/{name}"],
                cwd=ROOT,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (int(options.limit * 1e9),) * 2),
            )

        cached, in_memory = run("cached"), run("in_memory", "--no_cache")
        print(cached.stderr, in_memory.stderr)
        assert cached.returncode == 0 and in_memory.returncode == 2
        result = json.loads(Path(folder, "cached", "result.json").read_text())
    write_json(
        ROOT / "benchmarks/results/larger_than_memory.json",
        {
            "hardware": cpu_name(),
            "torch": result["torch"],
            "images": options.images,
            "decoded_bytes": decoded,
            "limit_bytes": int(options.limit * 1e9),
            "peak_resident_bytes": result["cost"]["peak_memory_bytes"],  # pages of the mapped file among them
            "train_images_per_second": result["cost"]["train_images_per_second"],
            "without_cache": in_memory.stderr.strip().splitlines()[-1],
        },
    )


def pictures(folder: Path, n: int) -> None:
    """Two classes of files; of every 50 the content is the same."""
    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True)
    dice = np.random.default_rng(0)
    originals: list[Path] = []
    for i in range(n):
        path = folder / ("dark", "light")[i % 2] / f"{i:05d}.jpg"
        if i < n // 25:
            small = Image.fromarray(dice.integers(128 * (i % 2), 128 + 128 * (i % 2), (16, 16, 3), np.uint8))
            small.resize((SIDE, SIDE)).save(path)
            originals.append(path)
        else:
            os.link(originals[2 * (i // 2 % (len(originals) // 2)) + i % 2], path)


if __name__ == "__main__":
    main()
