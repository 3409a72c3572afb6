"""From argv to the result line: the only place that talks to the user. Nothing here loads torch."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import Stopped, UserError
from ..run.provenance import this_python
from ..run.results import OPTIONS, RESULT
from ..spec import Dataset, RunConfig
from .parse import check, choose, parse


def main(dataset: Dataset | tuple[Dataset, ...], argv: Sequence[str] | None = None) -> None:
    """Run the script of a data sheet, or of several; exits with status 2 on an error that the user can fix."""
    sheets = dataset if isinstance(dataset, tuple) else (dataset,)

    def work() -> str | None:
        options = parse(sheets, argv)
        return _run(check(choose(sheets, options), options), options.download)

    if result := report_user_errors(work):
        print(result)


def report_user_errors(work: Callable[[], Any]) -> Any:
    """Do `work`; a `UserError` becomes one line and exit status 2. SIGTERM ends it as Ctrl-C does."""
    try:
        with _terminated_like_interrupted():
            return work()
    except UserError as error:
        sys.exit(_complain(str(error)))
    except KeyboardInterrupt as end:
        sys.exit(128 + _signal_of(end))


def _signal_of(end: KeyboardInterrupt) -> int:
    """The number of the signal that ended the work."""
    return end.args[0] if end.args else signal.SIGINT


def _complain(message: str) -> int:
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)  # a file's name may have two lines
    return 2


def _run(config: RunConfig, download: bool) -> str | None:
    from tqdm import tqdm

    if download:
        from ..data.download.fetch import fetch

        fetch(config.dataset, config.data_dir, config.offline)

    if config.protocol == "probe":
        from ..run.probe_run import probe as run
    else:
        from ..run.run import run

    try:
        with _once():
            result = run(config, lambda record: tqdm.write(_told(config, record), file=sys.stderr))
    except Stopped as stopped:
        _leave_group()
        _say_how_to_continue(f"{stopped}; everything is saved", config)
        sys.exit(128 + stopped.number)
    except KeyboardInterrupt as end:  # outside of training
        if (config.out / OPTIONS).exists() and not (config.out / RESULT).exists():
            _say_how_to_continue(f"stopped by {signal.Signals(_signal_of(end)).name}", config)
        raise
    _leave_group()
    return result and result_line(result, config.out)


def _say_how_to_continue(what: str, config: RunConfig) -> None:
    script = f"{config.dataset.script}.py"
    if Path(sys.argv[0]).name == script:
        script = shlex.quote(sys.argv[0])
    if int(os.environ.get("RANK", 0)) == 0:  # of several processes one speaks
        how = f"{this_python()} {script} --resume {shlex.quote(str(config.out))}"
        print(f"{what}; continue with: {how}", file=sys.stderr)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Within the block SIGTERM raises what Ctrl-C does, with its own number."""
    if threading.current_thread() is not threading.main_thread():  # no signals are given to others
        yield
        return

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave_group() -> None:
    """With several processes: exiting without leaving the process group may, rarely, abort."""
    import torch.distributed as group

    if group.is_available() and group.is_initialized():
        group.destroy_process_group()


@contextmanager
def _once() -> Iterator[None]:
    """TensorBoard's thread hands on what it cannot write, and would print it besides."""
    before = threading.excepthook
    threading.excepthook = lambda what: None if isinstance(what.exc_value, OSError) else before(what)
    try:
        yield
    finally:
        threading.excepthook = before


def _told(config: RunConfig, record: dict[str, Any]) -> str:
    """One line at the start of a run, one per evaluation or trial of a rate, or for the penalty that a probe has chosen."""
    if "trial" in record:
        score = record["score"]
        how = "no finite loss" if score is None else f"{100 * score:.2f} % on val"
        return f"learning rate {record['trial']:g}, {record['steps']:,} steps: {how}"
    if "penalty" in record:
        return f"penalty {record['penalty']:.2g}: val top1 {100 * record['val_top1']:.2f} %, nll {record['val_nll']:.3f}"
    if "step" in record:
        epoch, on = record["epoch"], "test" if "test_top1" in record else "val"
        when = f"epoch {epoch:3}" if isinstance(epoch, int) else f"step {record['step']:6,}"
        return (
            f"{when}: loss {record['train_loss']:.3f}, {on} top1 "
            f"{100 * record[f'{on}_top1']:.2f} %, nll {record[f'{on}_nll']:.3f}; {record['train_seconds']:.0f} s, "
            f"{record['train_images_per_second']:.0f} img/s"
        )
    split, (height, width) = record["split"], record["preprocess"]["size"]
    skipped = record["skipped_images"]
    rate = f", learning rate {record['recipe']['phases'][0]['lr']:g}" if record.get("lr_search") else ""
    return (
        f"{config.dataset.title}: {split['train']:,} train, {split['val']:,} validation, {split['test']:,} test images "
        f"of {record['classes']} classes at {height}x{width}{f', {skipped:,} unreadable left out' * bool(skipped)}; {record['backbone']} from {record['weights']}, "
        f"{record['parameters'] / 1e6:.1f} M parameters, {record['precision']}, {record['memory_format']}"
        f"{', compiled' * record['compiled']}{rate} on {record['device']} -> {config.out}"
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
    start, when = _how(result)
    judge = result["chosen_on"]
    second = ""
    if result["metric"] == "auroc":  # it says nothing of where to decide
        second = f", balanced_accuracy {100 * result['test']['balanced_accuracy']['value']:.2f} %"
    return (
        f"{dataset} {result['backbone']} {start}: {result['metric']} {100 * metric['value']:.2f} %{interval or ''}{second} "
        f"on {split['test']:,} test images; {when} "
        f"chosen on {split[judge]:,} {judge} images; {result['parameters'] / 1e6:.1f} M parameters, "
        f"{result['macs'] / 1e9:.2f} GMACs, {cost['train_images_per_second']:.0f} img/s, {cost['train_seconds']:.0f} s -> {out}"
    )


def _how(result: dict[str, Any]) -> tuple[str, str]:
    """What was done to the network, and what was chosen."""
    best, random = result["best"], result["weights"] == "none"
    if result["protocol"] == "probe":
        return (
            "random and frozen, linear probe" if random else "frozen, linear probe",
            f"penalty {best['penalty']:.2g}",
        )
    kind = "epoch" if result["recipe"]["eval_every"] == result["steps_per_epoch"] else "step"
    return "from scratch" if random else "fine-tuned", f"{kind} {best[kind]:,} of {result['last'][kind]:,}"
