"""The log of a race: a line per fine-tuning run, from which an interrupted race continues."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import UserError, disk_errors
from ...files.atomic import atomic_write
from ...models.names import slug
from ...run.results import RESULT
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

    @property
    def folder(self) -> str:
        """The name of its run folder."""
        height, width = self.image_size
        name = slug(self.backbone) + ("-random" if self.weights == "none" else "")
        return f"{name}-{height}x{width}-{self.steps}steps-lr{self.lr:g}-s{self.seed}"

    @property
    def key(self) -> tuple:
        """What tells it from other runs."""
        return self.backbone, self.weights, self.image_size, self.steps, self.lr, self.seed

    def is_of(self, config: RunConfig) -> bool:
        return (self.backbone, self.weights, self.image_size) == (config.model, config.weights, config.image_size)


def append(folder: Path, entry: Entry) -> None:
    """In place of an earlier run with the same settings."""
    path = folder / FILE
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    others = [line for line in lines if _parse(line).key != entry.key]
    with disk_errors(folder), atomic_write(path) as part:
        part.write_text("\n".join([*others, json.dumps(asdict(entry)), ""]), encoding="utf-8")


def read(folder: Path, configs: Sequence[RunConfig], log: Callable[[str], None]) -> list[Entry]:
    """The entries of these backbones, each run once, without those whose files are gone.

    Raises:
        UserError: not such a file.
    """
    path, entries = folder / FILE, {}
    try:
        found = list(map(_parse, path.read_text("utf-8").splitlines())) if path.exists() else []
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        raise UserError(f"{path} is no race log; delete it to start the race anew") from None
    for entry in found:
        key = entry.key
        if not any(map(entry.is_of, configs)):
            continue
        if entry.val is not None and not (folder / entry.folder / RESULT).exists():
            log(f"{folder / entry.folder} is gone: its run does not count")
            continue
        if entries.get(key, entry) != entry:
            log(f"{path} lists seed {entry.seed} of {entry.backbone} twice: it counts once")
        entries[key] = entry
    return list(entries.values())


def _parse(line: str) -> Entry:
    """Raises: ValueError, TypeError, LookupError or AttributeError: not a line of this log."""
    fields = json.loads(line)
    entry = Entry(**fields | {"image_size": tuple(fields["image_size"])})
    numbers = (entry.steps, entry.lr, entry.seed, entry.seconds, 0.0 if entry.val is None else entry.val)
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError("not a finite number")
    return entry
