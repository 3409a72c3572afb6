"""The folder of a run, from its creation to its result."""

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data.dataset import LoadedDataset
from ..data.splits import split_file
from ..errors import UserError, disk_errors
from ..files.atomic import atomic_write, locked
from ..spec import RunConfig
from .results import CONFIG, CONTACT_SHEET, OPTIONS, RESULT, write_json
from .trackers import scalars, tracking


@contextmanager
def run_folder(
    config: RunConfig,
    dataset: LoadedDataset,
    settings: dict[str, Any],
    records: Sequence[dict[str, Any]],
    write: bool = True,
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Create the folder, or continue in it after `records`; yields a function that logs the record of an evaluation.

    Records go to `log.jsonl`, TensorBoard and the tracker of `--track`. The folder is locked within the block. A new run with
    a `UserError` before its first evaluation or checkpoint leaves no folder behind. Without `write` (in all processes but
    the first) nothing is written.

    Raises:
        UserError: the folder exists (a run never overwrites another), cannot be created, or is used by another process.
    """
    if not write:
        yield lambda record: None
        return
    from ..training import checkpoint
    from .contact_sheet import of_run, write_contact_sheet

    folder, n_records = config.out, len(records)
    if not config.resume:
        _create(folder, settings, config.options)
    with locked(folder):
        if (folder / RESULT).exists():
            raise UserError(f"the run in {folder} is finished: nothing to resume")
        try:
            with disk_errors(folder):
                if config.changes:
                    _write_config(folder, settings, config.options)
                for part in folder.rglob(".*.part*"):  # left by a killed process
                    part.unlink()
                with _logging(folder, records) as log, tracking(config.track, folder, settings, records) as track:
                    with atomic_write(folder / "split.csv") as part:
                        split_file.write(part, dataset.samples, dataset.split)
                    write_contact_sheet(folder / CONTACT_SHEET, of_run(config, dataset), config.dataset.title)

                    def write_record(record: dict[str, Any]) -> None:
                        nonlocal n_records
                        n_records += 1
                        log(record)
                        track(record)

                    yield write_record
        except UserError:
            if not (config.resume or n_records or (folder / checkpoint.FOLDER).exists()):
                shutil.rmtree(folder, ignore_errors=True)
            raise


@contextmanager
def _logging(folder: Path, records: Sequence[dict[str, Any]]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields a function that appends a record to `records` in the log and on TensorBoard."""
    from torch.utils.tensorboard import SummaryWriter

    path = folder / "log.jsonl"
    with atomic_write(path) as part:
        part.write_text("".join(f"{json.dumps(record)}\n" for record in records), "utf-8")
    purge_step = records[-1]["step"] + 1 if records else None
    with open(path, "a", encoding="utf-8") as lines, SummaryWriter(folder, purge_step=purge_step) as board:

        def log(record: dict[str, Any]) -> None:
            print(json.dumps(record), file=lines, flush=True)
            for name, value in scalars(record).items():
                board.add_scalar(name, value, record["step"])

        yield log


def _create(folder: Path, settings: dict[str, Any], options: Mapping[str, Any]) -> None:
    """Create the folder with all that is needed to resume the run, atomically."""
    exists = UserError(f"run folder {folder} exists already: name another with --out, or move it away")
    with disk_errors(folder):
        if folder.exists():
            raise exists
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(folder) as part:
                part.mkdir()
                _write_config(part, settings, options)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise exists from None  # created in the meantime


def _write_config(folder: Path, settings: dict[str, Any], options: Mapping[str, Any]) -> None:
    import yaml

    write_json(folder / CONFIG, settings)
    with atomic_write(folder / OPTIONS) as part:
        part.write_text(yaml.safe_dump(dict(options), sort_keys=False), "utf-8")
