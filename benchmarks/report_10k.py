"""How long does `report` take to read 10,000 finished runs? Under ten seconds, without torch.

    python benchmarks/report_10k.py --out benchmarks/results/report_10k.json

Fabricated: `results/runs.jsonl`'s first run again and again, of other backbones, datasets and seeds. Timed are reading the
folders, sorting them into tables, and writing these as Markdown and CSV; charts and tests need predictions, and take as long
as there are cells.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common import catalog  # noqa: E402
from common.answers import tables  # noqa: E402
from common.answers.read import read  # noqa: E402
from common.answers.sections import sections  # noqa: E402
from common.models.table import BACKBONES  # noqa: E402
from common.results import cpu_name  # noqa: E402

RUNS = 10_000


def fabricate(folder: Path) -> None:
    """Run folders with a `result.json` each."""
    like = json.loads((ROOT / "results" / "runs.jsonl").read_text().splitlines()[0])
    kinds = [(sheet.name, row) for sheet in catalog.datasets() for row in BACKBONES]
    for i in range(RUNS):
        seed, kind = divmod(i, len(kinds))
        dataset, row = kinds[kind]
        mine = {"dataset": dataset, "backbone": row.name, "weights": row.weights, "seed": seed}
        mine["split"] = {**like["split"], "fingerprint": f"{seed:016x}"}
        (folder / f"{i:05d}").mkdir()
        (folder / f"{i:05d}" / "result.json").write_text(json.dumps({**like, **mine}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description="time the reading of 10,000 runs")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/report_10k.json")
    out = parser.parse_args().out
    domains = {sheet.name: sheet.domain for sheet in catalog.datasets()}
    with tempfile.TemporaryDirectory() as folder:
        fabricate(Path(folder))
        start = time.perf_counter()
        rows = read([Path(folder)]).rows
        was_read = time.perf_counter()
        told = sections(rows, domains)
        tables.markdown(told)
        tables.write_csv(Path(folder) / "results.csv", rows, told)
        written = time.perf_counter()
    result = {
        "hardware": cpu_name(),
        "python": platform.python_version(),
        "runs": len(rows),
        "n": 1,
        "seconds_to_read": round(was_read - start, 2),
        "seconds_to_tables": round(written - was_read, 2),
        "torch": "torch" in sys.modules,
    }
    print(", ".join(f"{name} {value}" for name, value in result.items()))
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
