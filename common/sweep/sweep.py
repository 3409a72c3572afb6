"""Many runs, whatever happens to one of them: what is finished is skipped, the rest begun or gone on with."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..errors import disk_errors
from . import rayed, view, workers
from .attempt import How
from .plan import Cell


@dataclass(frozen=True, kw_only=True)
class Where:
    """Who does the work."""

    workers: int  # runs at a time on this machine
    gpus: int  # of this machine; 0: none is handed out
    ray: str | None  # the address of a cluster that does it instead
    cpu_alone: bool  # no run wants a GPU


def sweep(
    cells: Sequence[Cell],
    out: Path,
    how: How,
    where: Where,
    latest: Mapping[str, float],
    tell: Callable[[str], None],
    quiet: bool,
) -> Counter[str]:
    """Carry them out; returns how many ended in which state.

    `latest`: the time after which a cell, by its name, is not begun.

    Raises:
        UserError: `out` cannot be written to, or there is no such cluster.
    """
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    ended: Counter[str] = Counter()
    if where.ray:
        work = rayed.work(cells, out, how, where.ray, not where.cpu_alone, latest)
    else:
        work = workers.work(cells, out, how, where.workers, where.gpus, latest)
    with closing(work), view.live(out, len(cells), quiet) as show:
        for event in work:
            show(int(event is not None))
            if event is None:
                continue
            cell, outcome = event
            ended[outcome.state] += 1
            if outcome.state in ("finished", "failed"):
                tried = outcome.again if outcome.state == "finished" else ()  # what failed tells it itself
                more = f" (tried again after {', '.join(tried)})" if tried else ""
                tell(f"[{ended.total()}/{len(cells)}] {cell.title} {outcome.state}: {outcome.told}{more}")
    return ended
