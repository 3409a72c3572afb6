"""One section of `gpu_check.py`: prints a line of JSON per check; a failed one states what is wrong on this device."""

import argparse
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.gpu import correctness, runs, speed

SECTIONS = {
    f.__name__: f
    for f in (
        correctness.branches, correctness.precision, correctness.accumulation, correctness.compilation, correctness.probe, runs.resume, runs.memory, runs.target,
        speed.syncs, speed.peak, speed.joules, speed.limit, speed.bench, speed.loops,
    )
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    with suppress(PermissionError):  # it leads a group already
        os.setsid()  # the section and its processes are killed as one group
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CLASH_CACHE"] = cache
        for found in SECTIONS[options.section](options.smoke):
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
