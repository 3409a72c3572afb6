"""From argv to the result line. Torch is not imported before the data has been checked."""

import atexit
import gc
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ..errors import Stopped, UserError, printable, printable_lines, stop_signals
from ..run.provenance import this_python
from ..run.results import OPTIONS, RESULT
from ..spec import Dataset, RunConfig
from .format import format_result, line_formatter
from .parse import make_config, parse

GC_THRESHOLD = 100_000  # objects between collections; the modules of torch have a million and no garbage


def main(dataset: Dataset | tuple[Dataset, ...], argv: Sequence[str] | None = None) -> None:
    """Run the script of a data sheet, or of several; exits with status 2 on an error that the user can fix."""
    sheets = dataset if isinstance(dataset, tuple) else (dataset,)

    def run() -> None:
        options = parse(sheets, argv)
        if line := _run(make_config(sheets, options), options.download):
            print(printable(line))

    report_user_errors(run)


def report_user_errors(function: Callable[[], Any]) -> Any:
    """Call `function`; a `UserError` becomes one line and its exit status, SIGTERM and SIGHUP exit like Ctrl-C."""
    gc.set_threshold(GC_THRESHOLD)
    atexit.register(gc.freeze)  # else the interpreter's last collection takes more than a second
    with _ignore_write_errors(sys.stderr), _ignore_write_errors(sys.stdout) as errors:
        try:
            with _signals_as_interrupt():
                return function()
        except UserError as error:
            print(f"error: {printable(str(error))}", file=sys.stderr)
            sys.exit(error.exit_status)
        except KeyboardInterrupt as error:
            sys.exit(128 + _signal_number(error))
        finally:
            sys.stdout.flush()
            if errors and not isinstance(errors[0], BrokenPipeError):
                print(f"error: cannot write to standard output ({errors[0].strerror})", file=sys.stderr)
                sys.exit(2)


@contextmanager
def _ignore_write_errors(stream: TextIO) -> Iterator[list[OSError]]:
    """The command continues if its output goes to a closed pipe or terminal, or to a full disk; yields the errors.

    Control characters, and those that do not fit the encoding, are escaped.
    """
    errors: list[OSError] = []
    stream.reconfigure(errors="backslashreplace")

    def discard_on_error(function: Callable) -> Callable:
        def call(*args: Any) -> Any:
            try:
                return function(*args)
            except OSError as error:
                errors.append(error)
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                return None

        return call

    write = discard_on_error(stream.write)
    stream.write, stream.flush = lambda text: write(printable_lines(text)), discard_on_error(stream.flush)
    try:
        yield errors
    finally:
        del stream.write, stream.flush


def _run(config: RunConfig, download: bool) -> str | None:
    from tqdm import tqdm

    if download:
        from ..data.download.fetch import fetch

        fetch(config.dataset, config.data_dir, config.offline)

    if config.protocol == "probe":
        from ..run.probe_run import probe as run
    else:
        from ..run.run import run

    format_line = line_formatter(config)

    def log(record: dict[str, Any]) -> None:
        line = format_line(record)
        if line and int(os.environ.get("RANK", 0)) == 0:
            tqdm.write(printable(line), file=sys.stderr)

    try:
        with _thread_errors_once():
            result = run(config, log)
    except Stopped as stopped:
        _destroy_process_group()
        _print_resume_command(f"{stopped}; everything is saved", config)
        sys.exit(128 + stopped.number)
    except KeyboardInterrupt as error:  # outside of training
        if (config.out / OPTIONS).exists() and not (config.out / RESULT).exists():
            _print_resume_command(f"stopped by {signal.Signals(_signal_number(error)).name}", config)
        raise
    _destroy_process_group()
    return result and format_result(result, config.out)


def _print_resume_command(reason: str, config: RunConfig) -> None:
    if int(os.environ.get("RANK", 0)) > 0:
        return
    script = f"{config.dataset.script}.py"
    if Path(sys.argv[0]).name == script:
        script = shlex.quote(sys.argv[0])
    command = f"{this_python()} {script} --resume {shlex.quote(str(config.out))}"
    print(printable(f"{reason}; continue with: {command}"), file=sys.stderr)


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """Signals that stop a command raise a `KeyboardInterrupt` with their number."""
    if threading.current_thread() is not threading.main_thread():  # others receive no signals
        yield
        return

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    handlers = {number: signal.signal(number, interrupt) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _signal_number(error: KeyboardInterrupt) -> int:
    return error.args[0] if error.args else signal.SIGINT


def _destroy_process_group() -> None:
    """Without this, one of several processes may, rarely, abort at exit."""
    import torch.distributed as group

    if group.is_available() and group.is_initialized():
        group.destroy_process_group()


@contextmanager
def _thread_errors_once() -> Iterator[None]:
    """TensorBoard's writer thread passes its OSErrors on to the main thread: they are printed once."""
    previous = threading.excepthook
    threading.excepthook = lambda args: None if isinstance(args.exc_value, OSError) else previous(args)
    try:
        yield
    finally:
        threading.excepthook = previous
