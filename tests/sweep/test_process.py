"""Scripts forked from a server that has imported the libraries."""

import os
import signal
from pathlib import Path

import pytest

from common.sweep.process import Process


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(code: str, *options: str, **env: str) -> tuple[int | None, str]:
    """The exit status and the output of a script."""
    Path("script.py").write_text(code)
    status = Process(["script.py", *options], {**os.environ, **env}, Path("log")).wait(120)
    return status, Path("log").read_text()


def test_the_libraries_are_there_from_any_folder() -> None:
    code = "import sys; print({'torch', 'timm', 'common.run.setup'} - sys.modules.keys())"
    assert run(code) == (0, "set()\n")


def test_it_is_like_a_script_of_its_own() -> None:
    code = "import os, sys; print(sys.argv, __name__, os.environ['ANT'], sys.path[0]); sys.exit(3)"
    assert run(code, "--bee", ANT="1") == (3, "['script.py', '--bee'] __main__ 1 .\n")


def test_signals_reach_it() -> None:
    """They are blocked in the server alone."""
    status, output = run("import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)")
    assert status == 1 and output.splitlines()[-1] == "KeyboardInterrupt"
    assert run("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")[0] == -signal.SIGTERM
