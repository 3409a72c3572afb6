"""Downloads by several processes, and by the command line."""

import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fetch_server import CONTENT, Server, tree

from common.cli.catalog import datasets
from common.data.download.fetch import fetch
from common.errors import UserError
from common.spec import Dataset, File

ROOT = Path(__file__).resolve().parents[2]


# other processes

FETCH = """
import sys
from pathlib import Path
from common.data.download.fetch import fetch
from common.spec import Dataset, File, Official
url, size, digest, folder = sys.argv[1:]
file = File(name="toy.zip", mirrors=(url,), bytes=int(size), digest=digest)
print(fetch(Dataset(name="toy", title="Toy", domain="", load=None, split=Official(), classes=None, counts=None,
                    image_size=(32, 32), get="", sources=(file,)), Path(folder)))
"""


def started(file: File, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", FETCH, file.mirrors[0], str(file.bytes), file.digest, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until_requested(server: Server) -> None:
    end = time.monotonic() + 30
    while not server.requests and time.monotonic() < end:
        time.sleep(0.02)


def test_two_processes_at_once(toy: Dataset, server: Server, tmp_path: Path) -> None:
    server.wait = threading.Event()
    with started(toy.sources[0], tmp_path / "toy") as one:
        wait_until_requested(server)
        with started(toy.sources[0], tmp_path / "toy") as two:
            assert "another process is fetching" in two.stderr.readline()
            server.wait.set()
            assert one.communicate(timeout=60)[0] == "True\n"
            assert two.communicate(timeout=60)[0] == "False\n"
    assert len(server.requests) == 1 and tree(tmp_path / "toy") == CONTENT


def test_a_killed_process_blocks_no_other(toy: Dataset, server: Server, tmp_path: Path) -> None:
    server.wait = threading.Event()
    with started(toy.sources[0], tmp_path / "toy") as victim:
        wait_until_requested(server)
        victim.kill()
    server.wait.set()
    assert fetch(toy, tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT


# the command and the option


def run(cwd: Path, *command: str) -> subprocess.CompletedProcess:
    """Run with torch and the network forbidden."""
    block = (
        "import runpy, sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; "
        "sys.addaudithook(lambda event, _: sys.exit('a socket was opened') if event == 'socket.__new__' else None); "
        "runpy.run_module('common', run_name='__main__') if sys.argv[0] == '-m' "
        "else runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", block, *command], cwd=cwd, env=env, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("-m", "fetch", "eurosad"), "no dataset 'eurosad': did you mean 'eurosat'?"),
        (("-m", "fetch", "eurosat", "cifar10", "--data_dir", "x"), "--data_dir is for one dataset, not for 2"),
        (("-m", "fetch", "flowers102", "--offline"), "fetch setid.mat from https://www.robots.ox.ac.uk"),
        (("-m", "fetch", "folder"), "Your folder is not downloadable automatically: point --data_dir at"),
        ((str(ROOT / "eurosat.py"), "--download", "--offline"), "94,280,567 bytes, sha256 8ebea626349354c5"),
        ((str(ROOT / "eurosat.py"),), "--download downloads it"),
    ],
)
def test_errors_that_the_user_can_fix(tmp_path: Path, command: tuple[str, ...], says: str) -> None:
    done = run(tmp_path, *command)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and says in done.stderr
    assert not list(tmp_path.iterdir())


def test_fetching_data_that_exists(tmp_path: Path) -> None:
    (tmp_path / "data" / "eurosat" / "2750").mkdir(parents=True)
    done = run(tmp_path, "-m", "fetch", "eurosat", "digits")
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout
        == "EuroSAT: data/eurosat exists already, not verified (python -m common check eurosat counts its images)\nDigits: comes with scikit-learn\n"
    )


def test_download_comes_before_the_run(toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from common.cli import main

    def load(folder: Path, _: object) -> None:
        raise UserError(f"loaded {sorted(p.name for p in folder.iterdir())}")

    monkeypatch.chdir(tmp_path)
    toy = replace(toy, load=load)
    with pytest.raises(SystemExit):
        main.main(toy, ["--weights", "none"])
    assert not (tmp_path / "data").exists(), "never by surprise"
    options = main.parse((toy,), ["--weights", "none", "--download"])
    config = main.make_config((toy,), options)
    with pytest.raises(UserError, match=r"loaded \['jpg', 'labels.txt'\]"):
        main._run(config, download=True)


@pytest.mark.parametrize("name", [sheet.name for sheet in datasets() if sheet.sources])
def test_the_sheets_sources(name: str) -> None:
    files = next(sheet.sources for sheet in datasets() if sheet.name == name)
    assert len({file.name for file in files}) == len(files)
    for file in files:
        assert file.mirrors or file.steps, "nobody knows how to get it"
        assert file.digest is None or re.fullmatch("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", file.digest)
        assert all(re.match("https?://", mirror) for mirror in file.mirrors)
        assert not Path(file.into).is_absolute() and ".." not in Path(file.into).parts
