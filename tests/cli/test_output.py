"""Commands whose output nobody reads, or whose output's disk is full."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from common.errors import UserError, disk_errors

# writes lines to stderr, as a run does, then its result
LONG = """
import sys, time
from common import report_user_errors

def work():
    for line in range(3):
        print(line, file=sys.stderr)
        time.sleep(0.1)
    print("result")

report_user_errors(work)
"""


def start(*command: str, **streams: object) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, text=True, **streams)


def closed_pipe() -> int:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_nobody_reads_stdout() -> None:
    process = start("-m", "common", "list", stdout=closed_pipe(), stderr=subprocess.PIPE)
    assert process.communicate()[1] == "" and process.returncode == 0


def test_nobody_reads_stderr() -> None:
    process = start("-c", LONG, stdout=subprocess.PIPE, stderr=closed_pipe())
    assert process.communicate()[0] == "result\n" and process.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk() -> None:
    with open("/dev/full", "w") as full:
        process = start("-c", LONG, stdout=full, stderr=subprocess.PIPE)
    lines = process.communicate()[1].splitlines()
    assert lines == ["0", "1", "2", "error: cannot write to standard output (No space left on device)"]
    assert process.returncode == 2


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc on this system")
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("/proc/run", "cannot write to /proc/run (nobody can write in /proc): write elsewhere with --out"),
        ("/proc/a/b/run", "cannot write to /proc/a/b/run (nobody can write in /proc)"),
        ("/dev/null/run", "cannot write to /dev/null/run (Not a directory): write elsewhere with --out"),
        (f"/{300 * 'x'}", "(File name too long): write elsewhere with --out"),
    ],
)
def test_places_that_take_no_files(place: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)), disk_errors(place):
        Path(place).mkdir(parents=True)


def test_a_folder_that_vanished(tmp_path: Path) -> None:
    """Where files could be written it was moved or deleted."""
    gone = pytest.raises(UserError, match="out is gone: it was moved or deleted while in use")
    with gone, disk_errors(tmp_path / "out"):
        (tmp_path / "out" / "result.json").write_text("")
