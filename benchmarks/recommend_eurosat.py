"""`recommend` on 2,000 real images with every backbone, twice: how long it takes, and what it says.

EuroSAT's first 200 tiles per class, at 64 px or the least that a backbone takes; backbones whose ImageNet weights are not
at hand have random ones, so the table ranks little more than the one network that has weights against those that have none.

    python benchmarks/recommend_eurosat.py --data shared/data/eurosat --out benchmarks/results/recommend_cpu.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = 200  # of each class


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", type=Path, required=True, metavar="DIR", help="EuroSAT, as eurosat.py takes it")
    p.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = p.parse_args()
    classes = next(found.parent for found in options.data.rglob("AnnualCrop"))
    with tempfile.TemporaryDirectory() as place:
        for folder in sorted(classes.iterdir()):
            (Path(place, "images", folder.name)).mkdir(parents=True)
            for image in sorted(folder.glob("*.jpg"))[:IMAGES]:
                Path(place, "images", folder.name, image.name).symlink_to(image.resolve())
        runs = [_run(Path(place), name) for name in ("first.json", "second.json")]
    (first, slow), (second, fast) = runs
    assert first["backbones"] == second["backbones"], "what is remembered is what was computed"
    figures = {**first, "first_run_seconds": slow, "second_run_seconds": fast}
    options.out.write_text(json.dumps(figures, indent=1) + "\n")


def _run(place: Path, name: str) -> tuple[dict, float]:
    """The answer, and the seconds of the whole process."""
    told = ["--data_dir", str(place / "images"), "--image_size", "64", "--offline", "--random_missing"]
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "common", "recommend", *told, "--out", str(place / name)],
        cwd=ROOT,
        env={**os.environ, "CLASH_CACHE": str(place / "cache")},
        check=True,
    )
    seconds = time.perf_counter() - start
    answer = json.loads((place / name).read_text())
    del answer["command"]  # it names a folder that is gone
    return answer, seconds


if __name__ == "__main__":
    main()
