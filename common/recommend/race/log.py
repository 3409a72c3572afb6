"""The log of a race: a line per fine-tuning run, from which an interrupted race continues."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import UserError, disk_errors
from ...files.atomic import atomic_write
from ...spec import RunConfig

FILE = "race.jsonl"


@dataclass(frozen=True)
class Entry:
    """A finished run."""

    backbone: str
    weights: str
    image_size: tuple[int, int]  # (H, W)
    steps: int
    lr: float
    seed: int
    seconds: float
    val: float | None = None  # the score that selected its weights; None: the run failed
    tuned: bool = False  # the selected weights are not the initial ones

    def is_of(self, config: RunConfig) -> bool:
        return (self.backbone, self.weights, self.image_size) == (config.model, config.weights, config.image_size)


def append(folder: Path, entry: Entry) -> None:
    path = folder / FILE
    before = path.read_text("utf-8") if path.exists() else ""
    with disk_errors(folder), atomic_write(path) as part:
        part.write_text(f"{before}{json.dumps(asdict(entry))}\n", encoding="utf-8")


def read(folder: Path, configs: Sequence[RunConfig], log: Callable[[str], None]) -> list[Entry]:
    """The entries of these backbones, each run once.

    Raises:
        UserError: not such a file.
    """
    path, entries = folder / FILE, {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            fields = json.loads(line)
            entry = Entry(**fields | {"image_size": tuple(fields["image_size"])})
        except (ValueError, TypeError, LookupError):
            raise UserError(f"{path}: no race log; delete it to start the race anew") from None
        key = (entry.backbone, entry.weights, entry.image_size, entry.steps, entry.lr, entry.seed)
        if key in entries:
            log(f"{path} lists seed {entry.seed} of {entry.backbone} twice: it counts once")
        elif any(map(entry.is_of, configs)):
            entries[key] = entry
    return list(entries.values())
