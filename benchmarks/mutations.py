"""Does a test fail when the core is wrong? One small mistake at a time in a copy of the tree, then the tests of that room.

    python benchmarks/mutations.py

A sample of the operators, numbers, conditions, keywords and statements of each room is changed, one per mutant: `<` to `<=`,
`+` to `-`, a number by one, a condition to its opposite, a keyword or statement left out. A mutant is killed if a test
fails or does not end. Every mutant is a line of the result; lines that are there are not run again.
"""

import argparse
import ast
import importlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "torchvision", "timm", "accelerate", "scipy.stats", "sklearn", "PIL.Image", "matplotlib.pyplot")

# {room: {file: its tests}}
STATISTICS = "tests/statistics/test_statistics.py"
SPLITS = tuple(f"tests/data/test_{name}.py" for name in ("splits", "low_data", "split_script"))
DOWNLOAD = tuple(f"tests/data/test_{name}.py" for name in ("unpack", "fetch", "fetch_processes"))
RESUME = ("tests/training/test_finetune.py", "tests/run/test_resume.py")
ROOMS = {
    "splits": {
        "common/data/splits/splits.py": SPLITS,
        "common/data/splits/split_file.py": SPLITS,
        "common/data/splits/requirements.py": (*SPLITS, "tests/data/test_counts.py"),
    },
    "metrics": {
        "common/metrics/classification.py": (
            "tests/metrics/test_classification.py",
            "tests/run/test_per_class.py",
            "tests/training/test_finetune.py",
        )
    },
    "statistics": {
        "common/statistics/intervals.py": (
            STATISTICS,
            "tests/statistics/test_grouped.py",
            "tests/metrics/test_classification.py",
        ),
        "common/statistics/learning_curve.py": ("tests/statistics/test_learning_curve.py",),
        "common/statistics/paired.py": (STATISTICS, "tests/statistics/test_grouped.py"),
        "common/statistics/posterior.py": ("tests/statistics/test_posterior.py",),
        "common/statistics/ranks.py": (STATISTICS,),
    },
    "checkpoint": {
        "common/training/checkpoint.py": RESUME,
        "common/training/train_state.py": RESUME,
        "common/training/train_step.py": RESUME,
    },
    "augment": {
        "common/data/augment/augment.py": ("tests/data/test_augment.py",),
        "common/data/augment/trivial_augment.py": ("tests/data/test_trivial_augment.py",),
    },
    "calibration": {"common/metrics/calibration.py": ("tests/metrics/test_calibration.py",)},
    "download": {f"common/data/download/{name}.py": DOWNLOAD for name in ("download", "fetch", "unpack")},
}

KEY = ("file", "line", "before", "after")  # of a mutant
SWAPS = (
    (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot),
    (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitAnd, ast.BitOr), (ast.And, ast.Or),
)  # fmt: skip
SWAPPED = {a: b for pair in SWAPS for a, b in (pair, pair[::-1])}


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """The small mistakes that can be made in a node."""
    match node:
        case ast.Compare(left, [op], right) if type(op) in SWAPPED:
            yield ast.Compare(left, [SWAPPED[type(op)]()], right)
        case ast.BinOp(left, op, right) if type(op) in SWAPPED:
            yield ast.BinOp(left, SWAPPED[type(op)](), right)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(SWAPPED[type(op)](), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Call(function, arguments, keywords):
            for i in range(len(keywords)):
                yield ast.Call(function, arguments, keywords[:i] + keywords[i + 1 :])
        case ast.Return(value) if value is not None:
            yield ast.Return(None)
        case ast.AugAssign() | ast.Expr(ast.Call()) | ast.Raise():
            yield ast.Pass()


def candidates(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but types, messages and what only a type checker reads."""
    match tree:
        case ast.JoinedStr() | ast.If(ast.Name("TYPE_CHECKING")):
            return
    yield tree
    for name, value in ast.iter_fields(tree):
        if name not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from candidates(child)


def mutants(path: str) -> list[tuple[dict, str]]:
    """What is changed in a file, and the source of the changed file."""
    source = (ROOT / path).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node in candidates(ast.parse(source)):
        for changed in changes(node):
            start, end = (starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset)
            text = ast.unparse(changed)
            new = f"({text})" if isinstance(changed, ast.expr) and not isinstance(changed, ast.Constant) else text
            mutated = (source[:start] + new.encode() + source[end:]).decode()
            about = {"file": path, "line": node.lineno, "before": ast.unparse(node), "after": text}
            found.append((about, mutated))
    return found


def sample(room: str, n: int, seed: int) -> list[tuple[dict, str]]:
    found = [mutant for path in ROOMS[room] for mutant in mutants(path)]
    return random.Random(f"{seed} {room}").sample(found, min(n, len(found)))


class FastFirst:
    """A plugin of pytest: the tests in the order of their duration in an earlier run; records it."""

    def __init__(self, durations: dict[str, float]):
        self.durations = durations

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.durations.get(item.nodeid, 0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.durations[report.nodeid] = self.durations.get(report.nodeid, 0) + report.duration


def run_tests(tree: Path, tests: tuple[str, ...], durations: dict[str, float], timeout: float | None) -> str:
    """ "passed", "failed" or "timeout" of the tests in a copy of the tree; without `durations` they are filled in."""
    context = multiprocessing.get_context("fork")  # the libraries are imported once
    reader, writer = context.Pipe(duplex=False)

    def run() -> None:
        os.setsid()
        os.chdir(tree)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        plugin = FastFirst(dict(durations))
        status = pytest.main(["-x", "-n0", "-p", "no:cacheprovider", *tests], [plugin])
        writer.send((int(status), plugin.durations))

    process = context.Process(target=run)
    process.start()
    writer.close()
    try:
        if not reader.poll(timeout):
            return "timeout"
        status, found = reader.recv()
    except EOFError:  # it died
        return "failed"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
    if not durations:
        durations |= found
    return "failed" if status else "passed"


def again(record: dict) -> tuple[dict, str]:
    """A mutant of an earlier record, at the nearest line of today's file."""
    same = [m for m in mutants(record["file"]) if all(m[0][k] == record[k] for k in ("before", "after"))]
    return min(same, key=lambda m: abs(m[0]["line"] - record["line"]))


class Trial:
    """A copy of the tree in which one mistake at a time is made."""

    def __init__(self, tree: Path):
        self.tree = tree
        self.durations: dict[tuple[str, ...], dict[str, float]] = {}
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "runs"))

    def run(self, room: str, about: dict, source: str) -> dict:
        """The record of a mutant."""
        tests = ROOMS[room][about["file"]]
        durations = self.durations.setdefault(tests, {})
        if not durations:
            outcome = run_tests(self.tree, tests, durations, None)
            assert outcome == "passed", f"{tests} fail without a mistake"
        path, start = self.tree / about["file"], time.perf_counter()
        original = path.read_text("utf-8")
        path.write_text(source, "utf-8")
        outcome = run_tests(self.tree, tests, durations, 5 * sum(durations.values()) + 60)
        path.write_text(original, "utf-8")
        return {"room": room, **about, "outcome": outcome, "seconds": round(time.perf_counter() - start)}


def main() -> None:
    parser = argparse.ArgumentParser(description="which mistakes in the core are found by a test")
    parser.add_argument("--each", type=int, default=8, help="mutants per room (8)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS))
    parser.add_argument(
        "--survivors",
        action="store_true",
        help="instead, those of an earlier run that no test found: after a test was added",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/mutations.jsonl")
    options = parser.parse_args()
    sys.dont_write_bytecode = True  # a mutant may have the size and second of another
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ.setdefault("CLASH_SHARED", str(ROOT.parent / "shared"))
    for name in LIBRARIES:
        importlib.import_module(name)
    records = []
    if options.out.exists():
        records = [json.loads(line) for line in options.out.read_text("utf-8").splitlines()]
    if options.survivors:
        left = [(i, r["room"], *again(r)) for i, r in enumerate(records) if r["outcome"] == "passed"]
    else:
        done = [{key: record[key] for key in KEY} for record in records]
        sampled = [(room, *m) for room in options.rooms for m in sample(room, options.each, options.seed)]
        left = [(None, *mutant) for mutant in sampled if mutant[1] not in done]
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder) / "tree")
        for position, room, about, source in left:
            record = trial.run(room, about, source)
            if position is None:
                records.append(record)
            else:
                records[position] = {**record, "first": "passed"}
            options.out.write_text("".join(f"{json.dumps(r)}\n" for r in records), "utf-8")
            print(*record.values(), flush=True)


if __name__ == "__main__":
    main()
