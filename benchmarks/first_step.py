"""Seconds from Enter to the first training step, and how many of them are imports that every run needs.

    python benchmarks/first_step.py path/to/EuroSAT

EuroSAT complete, 27,000 files, EfficientNet-Lite0 at 64 px: once with an empty cache, then with a warm one. The imports
are torch's, timm's and Accelerate's, in a separate process, alternating with the runs; medians.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.run.provenance import LIBRARIES, cpu_name
from common.run.results import write_json

# A run that ends at its first batch
RUN = """
import runpy, sys, time
sys.argv = ["eurosat.py", *sys.argv[1:]]
from common.data.loader import Batches
def stop(*_):
    print(time.time())
    sys.exit()
Batches.train = stop
runpy.run_path("eurosat.py", run_name="__main__")
"""
IMPORTS = "import time, torch, timm, accelerate; print(time.time())"


def seconds(script: str, *options: str) -> float:
    """From the start of the process to the time that it prints."""
    start = time.time()
    process = subprocess.run(
        [sys.executable, "-c", script, *options], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(process.stdout.split()[-1]) - start


def main() -> None:
    parser = argparse.ArgumentParser(description="seconds from Enter to the first training step")
    parser.add_argument("eurosat", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    warm, imports = [], []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CLASH_CACHE"] = f"{folder}/cache"

        def run(name: str) -> float:
            return seconds(RUN, "--data_dir", str(options.eurosat.resolve()), "--offline", "--out", f"{folder}/{name}")

        cold = run("cold")
        for r in range(options.rounds):
            imports.append(seconds(IMPORTS))
            warm.append(run(f"warm{r}"))
    result = {
        "hardware": cpu_name(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "rounds": options.rounds,
        "empty_cache_seconds": cold,
        "warm_cache_seconds": statistics.median(warm),
        "imports_seconds": statistics.median(imports),
    }
    write_json(ROOT / "benchmarks/results/first_step.json", result)
    print(result)


if __name__ == "__main__":
    main()
