"""One run = one folder with one `result.json`. A file is whole or not there."""

import csv
import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError, disk_errors
from ..files.atomic import atomic_write, locked
from ..spec import Preprocess, RunConfig

if TYPE_CHECKING:
    import numpy as np
    import torch

BEST, LAST = "best.safetensors", "last.safetensors"
CONFIG, OPTIONS, RESULT = "config.json", "options.yaml", "result.json"
MISTAKES = "mistakes.jpg"  # pictures


def write_json(path: Path, content: Any) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Raises: UserError: not there, or no JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error})") from None


@contextmanager
def run_folder(
    config: RunConfig, settings: dict[str, Any], records: Sequence[dict], write: bool
) -> Iterator[Callable[[dict], None]]:
    """Make the run's folder, or go on in it behind `records`; yields the log of evaluations, to `log.jsonl` and TensorBoard.

    The block holds all that the run writes, its result too: when it ends, another process may go on in the folder.
    A new run that the user must fix before its first evaluation or checkpoint leaves no folder behind. Other processes than the
    first (`write` false) write nothing.

    Raises:
        UserError: the folder exists (a run never overwrites another), cannot be made, or another process is at work there.
    """
    if not write:
        yield lambda record: None
        return
    from torch.utils.tensorboard import SummaryWriter

    from ..training import checkpoint

    folder, logged = config.out, len(records)
    if not config.resume:
        _make(folder, settings, config.options)
    with locked(folder):
        if (folder / RESULT).exists():
            raise UserError(f"the run in {folder} is finished: there is nothing to resume")
        try:
            with disk_errors(folder):
                if config.changes:
                    _describe(folder, settings, config.options)
                for part in folder.rglob(".*.part*"):  # of a process that was killed while it wrote
                    part.unlink()
                with atomic_write(folder / "log.jsonl") as part:
                    part.write_text("".join(f"{json.dumps(record)}\n" for record in records), "utf-8")
                with (
                    open(folder / "log.jsonl", "a", encoding="utf-8") as lines,
                    SummaryWriter(folder, purge_step=records[-1]["step"] + 1 if records else None) as board,
                ):

                    def log(record: dict) -> None:
                        nonlocal logged
                        logged += 1
                        print(json.dumps(record), file=lines, flush=True)
                        for name, value in record.items():
                            board.add_scalar(name.replace("_", "/", 1), value, record["step"])

                    yield log
        except UserError:
            if not (config.resume or logged or (folder / checkpoint.FOLDER).exists()):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _make(folder: Path, settings: dict[str, Any], options: Mapping[str, Any]) -> None:
    """The folder with what the run can go on from, or none."""
    taken = f"run folder {folder} exists already: name another with --out, or move it away"
    with disk_errors(folder):
        if folder.exists():
            raise UserError(taken)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(folder) as part:
                part.mkdir()
                _describe(part, settings, options)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise UserError(taken) from None  # since a moment


def _describe(folder: Path, settings: dict[str, Any], options: Mapping[str, Any]) -> None:
    import yaml

    write_json(folder / CONFIG, settings)
    with atomic_write(folder / OPTIONS) as part:
        part.write_text(yaml.safe_dump(dict(options), sort_keys=False), "utf-8")


def write_weights(path: Path, net: "torch.nn.Module", about: dict[str, Any]) -> None:
    """A safetensors file: the weights and, in its header as JSON, all that a prediction needs beside them.

    `about`: "backbone", "classes", "preprocess", "native" (pixels that all images share) and "temperature".
    """
    from safetensors.torch import save_file

    with atomic_write(path) as part:
        state = {key: value.cpu().contiguous() for key, value in net.state_dict().items()}
        save_file(state, part, {"about": json.dumps(about)})


def read_model_card(path: Path) -> dict[str, Any]:
    """The header that `write_weights` wrote.

    Raises:
        UserError: not such a file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            about = json.loads(file.metadata()["about"])
        how = {k: tuple(v) if isinstance(v, list) else v for k, v in about["preprocess"].items()}
        about["preprocess"] = Preprocess(**how)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"no trained model in {path.parent} ({error}): expected {path.name} of a finished run"
        ) from None
    return about


def write_predictions(
    folder: Path, names: Sequence[str], labels: "np.ndarray", logits: "np.ndarray", classes: Sequence[str]
) -> None:
    """`predictions.csv`, a row per test image, and `test_logits.npy` (N, C) float32 in the same order."""
    import numpy as np
    from scipy.special import softmax

    probabilities, predicted = softmax(logits, axis=1), logits.argmax(1)
    with (
        atomic_write(folder / "predictions.csv") as part,
        open(part, "w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(("image", "label", "predicted", "probability", "probability_of_label"))
        for i, name in enumerate(names):
            p, own = probabilities[i, predicted[i]], probabilities[i, labels[i]]
            rows.writerow((name, classes[labels[i]], classes[predicted[i]], f"{p:.6g}", f"{own:.6g}"))
    with atomic_write(folder / "test_logits.npy") as part:
        np.save(part, logits)


def write_confusion(folder: Path, counts: "np.ndarray", classes: Sequence[str]) -> None:
    """`confusion.csv`: counts; rows are true classes, columns predicted ones."""
    with (
        atomic_write(folder / "confusion.csv") as part,
        open(part, "w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(("true \\ predicted", *classes))
        rows.writerows((name, *row) for name, row in zip(classes, counts.tolist(), strict=True))
