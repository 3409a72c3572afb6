"""Does a sweep on a Ray cluster of two machines survive the loss of one, with every result written once?

    python benchmarks/sweep_ray.py --data DIR

Two raylets on this machine and a head without CPUs stand for two machines; the runs are those of `sweep_killed.py` on
ucmerced and plantvillage with two seeds. After two finished runs, one raylet is killed. Its runs continue as orphans or
die with it; Ray reschedules their tasks on the other.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import ray
import torch
from ray.cluster_utils import Cluster
from sweep_killed import ROOT, command, results_of

from common.run import provenance
from common.run.results import write_json

GRID = {"datasets": ("ucmerced", "plantvillage"), "seeds": ("0", "1")}
FINISHED = 2  # runs before the kill


def finished(out: Path) -> int:
    return len(list(out.glob("*/result.json")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "sweep_ray.json")
    options = parser.parse_args()
    data = options.data.absolute()
    with tempfile.TemporaryDirectory() as folder:
        reference, out = Path(folder) / "reference", Path(folder) / "ray"
        subprocess.run(command(data, reference, **GRID), cwd=ROOT, check=True)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        raylets = [cluster.add_node(num_cpus=1) for _ in range(2)]
        sweep = subprocess.Popen(
            command(data, out, "--ray", cluster.address, **GRID), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        while finished(out) < FINISHED:
            time.sleep(0.5)
        cluster.remove_node(raylets[0], allow_graceful=False)
        before = finished(out)
        stdout = sweep.communicate()[0].strip()
        cluster.shutdown()
        expected, found = results_of(reference), results_of(out)
        folders = [path.name for path in out.iterdir() if path.name not in ("logs", "failed")]
    result = {
        "runs": len(expected),
        "finished_before_the_kill": before,
        "retried_tasks": stdout.count("so the task will be retried"),
        "last_line": stdout.splitlines()[-1].replace(str(out), "OUT"),
        "exit_status": sweep.returncode,
        "once_each": sorted(folders) == sorted(expected),
        "same_bits": sum(expected[name] == found.get(name) for name in expected),
        "ray": ray.__version__,
        **provenance.collect(torch.device("cpu"), "fp32"),
    }
    del result["command"]
    write_json(options.out, result)
    print({name: result[name] for name in ("runs", "last_line", "exit_status", "once_each", "same_bits")})


if __name__ == "__main__":
    main()
