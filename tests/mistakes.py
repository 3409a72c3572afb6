"""Runs a script that must end in a user error: one line, exit status 2, nothing written, torch not imported."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from conftest import ROOT

# Forks itself for every script, with what all of them import: a start of Python takes half a second
SERVER = """
import json, os, runpy, sys
import numpy, PIL.Image
import common.__main__, common.cli.parse, common.data.dataset
assert "torch" not in sys.modules

class Block:
    def find_spec(self, name, *_):
        if name == "torch":
            raise AssertionError("torch was imported before a user error")

sys.meta_path.insert(0, Block())
for line in sys.stdin:
    if os.fork() == 0:
        break
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
else:
    sys.exit()
cwd, output, error, env, sys.argv = json.loads(line)
os.chdir(cwd)
os.environ.update(env)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for path, stream in ((output, 1), (error, 2)):
    os.dup2(os.open(path, os.O_WRONLY), stream)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@cache
def server() -> subprocess.Popen:
    """Ends with this process, which closes its standard input."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def mistake(cwd: Path, script: str | Path, *options: object) -> str:
    """The one-line error of a script that must fail."""
    before = sorted(cwd.rglob("*"))
    streams = [cwd.with_name(f"{cwd.name}.{name}") for name in ("out", "err")]
    for path in streams:
        path.write_bytes(b"")
    env = {**os.environ, "TORCH_HOME": str(cwd / "hub")}
    request = [str(cwd), *map(str, streams), env, [str(ROOT / script), *map(str, options)]]
    print(json.dumps(request), file=server().stdin, flush=True)
    status = int(server().stdout.readline())
    output, error = (path.read_text(errors="surrogateescape") for path in streams)
    assert status == 2, error
    assert sorted(cwd.rglob("*")) == before, "something was written"
    assert not output
    lines = [line for line in error.splitlines() if "error:" in line]
    assert len(lines) == 1 and "Traceback" not in error
    return lines[0]
