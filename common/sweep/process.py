"""A script as a process, forked from a server that has imported its libraries already, which takes seconds.

The server is multiprocessing's forkserver. It starts with the first process, runs nothing itself, and is started again if
it dies; a process that crashes ends no other. All run the code that was there when the server started.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["common.sweep.preload"])
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a terminal and Slurm send them to the server, too
LOCK = threading.Lock()  # multiprocessing reads the exit statuses of all children whenever it starts one


class Process:
    """A running script; its output is appended to a log."""

    def __init__(self, args: Sequence[str], env: Mapping[str, str], log: Path):
        """`args`: the script's path and its options; `env`: its whole environment.

        Raises:
            OSError: the server was killed while it started the process.
        """
        self._process = FORKSERVER.Process(target=_run_script, args=([*args], {**env}, log))
        try:
            with LOCK, _server_environment(env):
                self._process.start()
        except EOFError:
            raise OSError("the process that starts the runs was killed") from None
        self.pid = self._process.pid

    def wait(self, seconds: float) -> int | None:
        """Its exit status, a signal's number below 0; None if it still runs after `seconds`."""
        wait([self._process.sentinel], seconds)
        with LOCK:
            return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


@contextmanager
def _server_environment(env: Mapping[str, str]) -> Iterator[None]:
    """What the server inherits, if it starts now: a path to this package, OMP_NUM_THREADS for its imports, blocked signals."""
    path = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        with patch.dict(os.environ, {**env, "PYTHONPATH": path}):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _run_script(args: list[str], env: dict[str, str], log: Path) -> None:
    """As `python SCRIPT OPTIONS`, its standard output and errors in `log`."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.environ.clear()
    os.environ.update(env)
    with open(log, "ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.stdout, sys.stderr = (open(fd, "w", buffering=1, encoding="utf-8") for fd in (1, 2))  # noqa: SIM115
    if "tqdm" in sys.modules:  # its lock is shared by processes, and held forever by one that is killed
        sys.modules["tqdm"].tqdm.set_lock(threading.RLock())
    sys.argv = args
    sys.path.insert(0, str(Path(args[0]).parent))
    runpy.run_path(args[0], run_name="__main__")
