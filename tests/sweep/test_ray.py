"""A sweep on a Ray cluster that is protected by a token, and one that is not there."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from scripted import script

from common.errors import UserError
from common.sweep import ray_backend
from common.sweep.job import JobConfig

# three scripted runs: one is killed at first, one fails
DRIVER = """
import sys
from pathlib import Path
from scripted import cell, config
from common.errors import UserError
from common.sweep.sweep import Backend, sweep

folder, address = Path(sys.argv[1]), sys.argv[2]
cells = [cell(folder / "script.py", name) for name in "abc"]
try:
    print(sweep(cells, config(folder), Backend(workers=1, gpus=0, ray=address, cpu_only=True), print, quiet=True))
except UserError as error:
    sys.exit(f"error: {error}")
"""


def environment(home: Path, **variables: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    (home / "torch.py").write_text("raise ImportError('scripted runs do not need it')\n")
    path = os.pathsep.join((str(home), str(ROOT), str(Path(__file__).parent)))
    return {**plain, "HOME": str(home), "PYTHONPATH": path, **variables}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster whose token is in `tmp_path`; the commands are those of docs/sweeps.md."""
    pytest.importorskip("ray", reason="Ray has no wheel for this Python or is not installed")
    ray, env = str(Path(sys.executable).with_name("ray")), environment(tmp_path)
    subprocess.run([ray, "get-auth-token", "--generate"], env=env, check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # short: it is part of a socket's name
        command = [ray, "start", "--head", "--port", str(port), "--num-cpus", "1", "--temp-dir", folder, "--block"]
        head = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        try:
            assert any("Ray runtime started" in line for line in head.stdout)
            yield f"127.0.0.1:{port}"
        finally:
            head.terminate()
            head.wait(60)


def drive(folder: Path, address: str, env: dict[str, str]) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", DRIVER, str(folder), address]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def test_a_cluster_with_a_token(cluster: str, tmp_path: Path) -> None:
    script(tmp_path, b=["kill:started", "finish"], c=["traceback"])
    process = drive(tmp_path, cluster, environment(tmp_path))
    assert "Counter({'finished': 2, 'failed': 1})" in process.stdout, process.stderr
    (tmp_path / "other").mkdir()
    for env in (environment(tmp_path / "other"), environment(tmp_path, RAY_AUTH_TOKEN=64 * "a")):
        start = time.monotonic()
        process = drive(tmp_path, cluster, env)
        assert process.returncode == 1 and "the cluster requires a token" in process.stderr
        assert time.monotonic() - start < 20
    assert not (tmp_path / "other" / ".ray").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nowhere.invalid:6379", "127.0.0.1:x"])
def test_no_cluster_is_found_out_at_once(address: str, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match="no Ray cluster there"):
        next(ray_backend.run([], JobConfig(out=tmp_path, threads=1, stall=60.0), address, gpu=False))
    assert time.monotonic() - start < 10
