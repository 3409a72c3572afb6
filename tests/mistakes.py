"""Runs a script that must end in a user error: one line, exit status 2, nothing written, torch not imported."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

BLOCK = """
import sys
class Block:
    def find_spec(self, name, *_):
        if name == "torch":
            raise AssertionError("torch was imported before a user error")
sys.meta_path.insert(0, Block())
sys.argv = sys.argv[1:]
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def mistake(cwd: Path, script: str, *options: object, torch: bool = False) -> str:
    """The one-line error of a script that must fail."""
    before = sorted(cwd.rglob("*"))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TORCH_HOME": str(cwd / "hub")}
    start = [str(ROOT / script)] if torch else ["-c", BLOCK, str(ROOT / script)]
    run = subprocess.run(
        [sys.executable, *start, *map(str, options)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=env,
        timeout=120,
    )
    assert run.returncode == 2, run.stderr
    assert sorted(cwd.rglob("*")) == before, "something was written"
    assert not run.stdout
    lines = [line for line in run.stderr.splitlines() if "error:" in line]
    assert len(lines) == 1 and "Traceback" not in run.stderr
    return lines[0]
