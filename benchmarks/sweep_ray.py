"""A sweep on a Ray cluster of two machines, one of which is lost midway: all results there, once each?

    python benchmarks/sweep_ray.py --data DIR

Two raylets on this machine, beside a head without processors, stand for two machines; the sweep's runs are those of
`sweep_killed.py` on ucmerced and plantvillage with two seeds. When two runs are finished, one raylet is killed. The
runs that it had started go on as orphans or die with it; Ray gives their tasks to the other.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import ray
import torch
from ray.cluster_utils import Cluster
from sweep_killed import ROOT, command, ends

from common.run import provenance
from common.run.results import write_json

FEW = {"datasets": ("ucmerced", "plantvillage"), "seeds": ("0", "1")}
BEFORE = 2  # runs that are finished when a raylet is killed


def finished(out: Path) -> int:
    return len(list(out.glob("*/result.json")))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "sweep_ray.json")
    options = parser.parse_args()
    data = options.data.absolute()
    with tempfile.TemporaryDirectory() as folder:
        whole, broken = Path(folder) / "whole", Path(folder) / "broken"
        subprocess.run(command(data, whole, **FEW), cwd=ROOT, check=True)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        raylets = [cluster.add_node(num_cpus=1) for _ in range(2)]
        sweep = subprocess.Popen(
            command(data, broken, "--ray", cluster.address, **FEW),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        while finished(broken) < BEFORE:
            time.sleep(0.5)
        cluster.remove_node(raylets[0], allow_graceful=False)
        before = finished(broken)
        said = sweep.communicate()[0].strip()
        cluster.shutdown()
        expected, found = ends(whole), ends(broken)
        folders = [path.name for path in broken.iterdir() if path.name not in ("logs", "failed")]
    told = {
        "runs": len(expected),
        "finished_before_the_kill": before,
        "tasks_begun_anew": said.count("so the task will be retried"),
        "said": said.splitlines()[-1].replace(str(broken), "OUT"),
        "exit_status": sweep.returncode,
        "once_each": sorted(folders) == sorted(expected),
        "same_bits": sum(expected[name] == found.get(name) for name in expected),
        "ray": ray.__version__,
        **provenance.collect(torch.device("cpu"), "fp32"),
    }
    del told["command"]
    write_json(options.out, told)
    print({name: told[name] for name in ("runs", "said", "exit_status", "once_each", "same_bits")})


if __name__ == "__main__":
    main()
