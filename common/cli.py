"""From argv to the result line: the only place that talks to the user. Nothing here loads torch."""

import argparse
import ctypes
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .errors import UserError
from .models import backbones, weights
from .options import choose, parser
from .spec import Dataset, Run


def main(dataset: Dataset | tuple[Dataset, ...], argv: Sequence[str] | None = None) -> None:
    """Run the script of a data sheet, or of several; exits with status 2 on a mistake that the user can mend."""
    sheets = dataset if isinstance(dataset, tuple) else (dataset,)
    options = parser(*sheets).parse_args(argv)
    result = friendly(lambda: _run(check(*choose(sheets, options)), options.download))
    if result:
        print(result)


def friendly(work: Callable[[], Any]) -> Any:
    """Do `work`; a `UserError` becomes one line and exit status 2."""
    try:
        return work()
    except UserError as error:
        sys.exit(_complain(str(error)))
    except KeyboardInterrupt:
        sys.exit(130)


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def check(dataset: Dataset, options: argparse.Namespace) -> Run:
    """All that can be known before torch is loaded.

    Raises:
        UserError: something that the user can mend.
    """
    for name, least in (("batch_size", 1), ("micro_bs", 1), ("epochs", 1), ("seed", 0), ("shots", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    if options.micro_bs and options.batch_size % options.micro_bs:
        raise UserError(f"--micro_bs {options.micro_bs}: expected a divisor of -bs {options.batch_size}")
    if options.lr is not None and not 0 < options.lr < 100:
        raise UserError(f"--lr {options.lr}: expected a rate above 0, such as 1e-3")
    if options.fraction is not None and not 0 < options.fraction <= 1:
        raise UserError(f"--fraction {options.fraction}: expected a share of train above 0, such as 0.1")
    if options.split_file and not options.split_file.is_file():
        raise UserError(f"no split file {options.split_file}")
    backbones.check_name(options.model)
    if options.tune and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("--tune measures one process alone: start a single one")
    if options.device == "cuda" and not _nvidia_driver():
        raise UserError("--device cuda: no NVIDIA driver on this machine; drop it to use the CPU")
    folder = options.data_dir
    if not (dataset.bundled or options.download or (folder.is_dir() and any(folder.iterdir()))):
        fetched = ", --download fetches it" if any(file.mirrors for file in dataset.sources) else ""
        raise UserError(
            f"no data in {folder} ({'empty' if folder.is_dir() else 'not there'}): {dataset.get}; "
            f"--data_dir names another place{fetched}"
        )
    stamp = time.strftime("%Y%m%d-%H%M%S")
    model = options.model.replace(":", "_")
    out = options.out or Path("runs") / f"{dataset.name}-{model}-s{options.seed}-{stamp}"
    if out.exists():
        raise UserError(f"run folder {out} exists already: name another with --out, or move it away")
    row = backbones.find(options.model)  # of timm's networks, the slow part
    row.check_size(options.image_size)
    weights.locate(row, options.weights, options.offline)
    asked = {**vars(options), "out": out}
    del asked["download"]  # how the data came does not change a result
    return Run(dataset=dataset, **asked)


def _run(asked: Run, download: bool) -> str | None:
    from tqdm import tqdm

    if download:
        from .data.fetch import fetch

        fetch(asked.dataset, asked.data_dir, asked.offline)

    from .run import run

    result = run(asked, lambda record: tqdm.write(_told(asked, record), file=sys.stderr))
    return result and result_line(result, asked.out)


def _told(asked: Run, record: dict[str, Any]) -> str:
    """One line at the start of a run, one per epoch."""
    if "epoch" in record:
        return (
            f"epoch {record['epoch']:3}: loss {record['train_loss']:.3f}, validation top1 "
            f"{100 * record['val_top1']:.2f} %, nll {record['val_nll']:.3f}; {record['train_seconds']:.0f} s, "
            f"{record['train_images_per_second']:.0f} img/s"
        )
    split, (height, width) = record["split"], record["preprocess"]["size"]
    return (
        f"{asked.dataset.title}: {split['train']:,} train, {split['val']:,} validation, {split['test']:,} test images "
        f"of {record['classes']} classes at {height}x{width}; {record['backbone']} from {record['weights']}, "
        f"{record['parameters'] / 1e6:.1f} M parameters, {record['precision']}, {record['memory_format']}"
        f"{', compiled' * record['compiled']} on {record['device']} -> {asked.out}"
    )


def result_line(result: dict[str, Any], out: Path) -> str:
    """One line: dataset, backbone, headline metric with its interval, how chosen, cost, where."""
    metric, split, cost = result["test"][result["metric"]], result["split"], result["cost"]
    interval = metric["interval"] and " [{:.2f}, {:.2f}]".format(*(100 * x for x in metric["interval"]))
    limits = {
        f"fold {result['fold']}": result["fold"],
        "subset": result["subset"],
        f"{result['shots']} shots": result["shots"],
        f"{result['fraction']} of train": result["fraction"],
        "split from a file": result["split_file"],
        "the paper's split": split["kind"] == "paper",
    }
    told = ", ".join(text for text, there in limits.items() if there)
    dataset = result["dataset"] + (f" ({told})" if told else "")
    start = {"none": "from scratch"}.get(result["weights"], "fine-tuned")
    return (
        f"{dataset} {result['backbone']} {start}: {result['metric']} {100 * metric['value']:.2f} %{interval or ''} "
        f"on {split['test']:,} test images; epoch {result['best']['epoch']} of {sum(p['epochs'] for p in result['recipe']['phases'])} "
        f"chosen on {split['val']:,} {result['chosen_on']} images; {result['parameters'] / 1e6:.1f} M parameters, "
        f"{result['macs'] / 1e9:.2f} GMACs, {cost['train_images_per_second']:.0f} img/s, {cost['train_seconds']:.0f} s -> {out}"
    )


def _nvidia_driver() -> bool:
    """Whether a CUDA driver answers, asked without torch."""
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False
