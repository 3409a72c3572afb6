"""The cells of a sweep as tasks of a Ray cluster, whose machines share a disk: Ray places them, and begins a task anew
when its machine is lost; the run goes on from its folder."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from uuid import uuid4

from ..errors import UserError
from . import ledger
from .attempt import How, Outcome, by_hand, carry_out
from .plan import Cell
from .workers import signals

LOOK = 1.0  # seconds between two looks at what has ended
RETRIES = 5  # of a task whose machine is lost
ROOT = Path(__file__).resolve().parents[2]


def work(
    cells: Sequence[Cell], out: Path, how: How, address: str, gpu: bool, latest: Mapping[str, float]
) -> Iterator[tuple[Cell, Outcome] | None]:
    """As `workers.work`. `address`: of the cluster, or "local" for one of this machine alone. `gpu`: each run gets one, where
    the cluster has some.

    Raises:
        UserError: no Ray, or no cluster there.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray: pip install 'ray>=2.51'") from None
    try:
        ray.init(
            address=address,
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
            log_to_driver=False,
            include_dashboard=False if address == "local" else None,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"--ray {address}: no Ray cluster there ({str(error).splitlines()[0]})") from None
    most = max((machine["Resources"].get("CPU", 0) for machine in ray.nodes() if machine["Alive"]), default=0)
    if how.threads > most:
        ray.shutdown()
        raise UserError(
            f"no machine of the Ray cluster has {how.threads} cores to give, the most is {most:.0f}: pass --threads {most:.0f} or less"
        )
    cards = int(gpu and ray.cluster_resources().get("GPU", 0) > 0)
    how_much = {"num_cpus": how.threads, "num_gpus": cards, "max_retries": RETRIES, "retry_exceptions": False}
    task = ray.remote(**how_much)(carry_out)
    wish = out / f".stop-{uuid4().hex}"  # what all machines see
    stopped = partial(_wish, wish)
    with signals() as stop:
        try:
            waiting = {
                task.remote(cell, out, how, latest.get(cell.name), stop=stopped): cell for cell in cells
            }
            while waiting and stop() < 2:
                if stop() and not wish.exists():
                    wish.write_text("1")
                    for reference in waiting:
                        ray.cancel(reference)  # what has not begun does not begin
                done, _ = ray.wait(list(waiting), timeout=LOOK)
                for reference in done:
                    cell = waiting.pop(reference)
                    yield cell, _outcome(ray, reference, cell, out)
                yield None
            if waiting:
                wish.write_text("2")
                time.sleep(LOOK)  # for the runs' machines to see it
            for cell in waiting.values():
                yield cell, Outcome("stopped")
        finally:
            wish.unlink(missing_ok=True)
            ray.shutdown()


def _wish(file: Path) -> int:
    """See `attempt.Stop`."""
    try:
        return int(file.read_text() or 1)
    except FileNotFoundError:
        return 0


def _outcome(ray, reference, cell: Cell, out: Path) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.TaskCancelledError:
        return Outcome("stopped")
    except ray.exceptions.RayError as error:  # the machine was lost again and again, or knows nothing of us
        reason = str(error).strip().splitlines()[-1]
        ledger.note_failure(out, cell, reason, by_hand(cell, out))
        return Outcome("failed", reason)
