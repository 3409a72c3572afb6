"""Finished runs -> the generated tables of README.md and docs/*.md, between markers such as `<!-- results -->`.

    python benchmarks/readme.py                                  # fill in all tables and draw the pictures
    python benchmarks/readme.py runs/digits-* runs/eurosat-*     # first add these runs to results/

`results/runs.jsonl` and `results/scratch.jsonl` hold one run per line, `benchmarks/results/answers.jsonl` the output of
`recommend --out`, without paths of the machine.
"""

import argparse
import ast
import importlib
import json
import re
import statistics
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import peer_tables, recipe_tables
from common.cli import catalog
from common.cli.format import format_result
from common.models.registry import BACKBONES, CIFAR, MODERN, Backbone
from common.recommend import table_text
from common.recommend.race.text import format_race
from common.report import agreement, scratch_table
from common.report.runs import parse_result
from common.report.sections import build_sections
from common.report.tables import run_table
from results import pictures

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
RUNS, SCRATCH = ROOT / "results" / "runs.jsonl", ROOT / "results" / "scratch.jsonl"
TIMES = ROOT / "results" / "times.json"
BENCHMARKS = ROOT / "benchmarks" / "results"
ANSWER = BENCHMARKS / "race_answer.json"  # `recommend --budget --out`, without paths of the machine

Run = dict


def load_lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def load_run(folder: Path) -> Run:
    """The result and the logged epochs of a finished run."""
    result = json.loads((folder / "result.json").read_text())
    epochs = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    del result["command"]  # contains paths of the machine
    keys = ("step", "epoch", "train_loss", "train_top1", "val_nll", "val_top1")
    return {**result, "epochs": [{key: round(e[key], 6) for key in keys if key in e} for e in epochs]}


def append_runs(folders: list[Path]) -> None:
    for file, scratch in ((RUNS, False), (SCRATCH, True)):
        new = [run for run in map(load_run, folders) if (run["protocol"] == "scratch") == scratch]
        lines = [*file.read_text().splitlines(), *map(json.dumps, new)]
        file.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)))


def results() -> str:
    """The report's table of all runs, each named after its line."""
    runs = [parse_result(run, Path(str(line))) for line, run in enumerate(load_lines(RUNS))]
    return run_table(build_sections(runs, {}))


def tree() -> str:
    """The files of `common/`, in the order of imports, with the first sentence of their docstrings."""
    house = (ROOT / "tests" / "test_house.py").read_text("utf-8")
    order = ast.literal_eval(re.search(r"^ROOMS = (\(.*?\n\))", house, re.M | re.S)[1])

    def lines(folder: Path, depth: int) -> list[str]:
        found = []
        for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
            if path.suffix == ".py" and path.read_text("utf-8").strip():
                docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
                sentence = re.split(r"[.](?:\s|$)", docstring)[0]
                found.append(f"{'  ' * depth + path.name:30}  {sentence}")
            elif path.suffix == ".jinja":
                found.append("  " * depth + path.name)
            elif path.is_dir() and path.name != "__pycache__":
                found += ["  " * depth + f"{path.name}/", *lines(path, depth + 1)]
        return found

    root = [line for line in lines(ROOT / "common", 1) if line.split()[0].endswith(".py") and line[2] != " "]
    rooms = [line for room in order for line in (f"  {room}/", *lines(ROOT / "common" / room, 2))]
    return "\n".join(["```", "common/", *root, *rooms, "```"])


def datasets() -> str:
    """The data sheets."""
    lines = [
        "| dataset | domain | train | val | test | classes | pixels | download | licence |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for sheet in catalog.datasets():
        if sheet.counts is None:  # the user's folder
            continue
        counts = [f"{sheet.counts[part]:,}" if part in sheet.counts else "" for part in ("train", "val", "test")]
        classes = len(sheet.classes) if isinstance(sheet.classes, tuple) else sheet.classes or ""
        automatic = sheet.bundled or (sheet.sources and all(file.mirrors for file in sheet.sources))
        download = "with a package" if sheet.bundled else "automatic" if automatic else "by hand"
        size = "x".join(map(str, sheet.image_size))
        cells = (f"`{sheet.name}`", sheet.domain, *counts, classes, size, download, sheet.licence)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def caveats() -> str:
    sheets = [sheet for sheet in catalog.datasets() if sheet.caveats]
    scripts = {sheet.script: sheet.caveats for sheet in sheets}
    return "\n".join(f"- `{script}`: {' '.join(notes)}" for script, notes in scripts.items())


def backbones(rows: tuple[Backbone, ...]) -> str:
    """The table of `python -m common list`, with aliases if there are any."""
    aliases = any(row.aliases for row in rows)
    last = "short name" if aliases else "pretrained on"
    lines = [f"| backbone | parameters (M) | ImageNet top-1 (%) | at | weights | {last} |", "|---|---|---|---|---|---|"]
    for row in rows:
        weights = row.enum or f"`{row.weights.rsplit('/', 1)[1]}`"
        checksum = row.sha256 or ("" if row.weights.startswith("hf:") else "(no checksum)")
        note = ", ".join(f"`{alias}`" for alias in row.aliases) if aliases else row.pretrained_on
        top1 = "" if row.top1 is None else f"{100 * row.top1:.2f}"
        lines.append(
            f"| `{row.name}` | {row.params / 1e6:.2f} | {top1} | {row.size} | {f'{weights} {checksum}'.strip()} | {note} |"
        )
    return "\n".join(lines)


def cifar() -> str:
    """Parameters and MACs of the CIFAR networks; `tests/models/test_cifar_networks.py` counts them."""
    lines = ["| network | parameters (M) | MACs (G) |", "|---|---|---|"]
    lines += [f"| `{row.name}` | {row.params / 1e6:.3f} | {row.macs / 1e9:.3f} |" for row in CIFAR]
    return "\n".join(lines)


def scratch() -> str:
    return scratch_table.format_table(load_lines(SCRATCH))


def speed() -> str:
    """The measurements of `bench` and `compare_loops.py`."""
    bench, loops = (json.loads((BENCHMARKS / f"{name}_cpu.json").read_text()) for name in ("bench", "compare_loops"))
    peers = {"seed": "the paper's", "torchvision": "torchvision's", "timm": "timm's"}
    columns = "backbone | precision | network alone (img/s) | end to end | memory (GB) | " + " | ".join(
        f"times {name}" for name in peers.values()
    )
    lines = [f"| {columns} |", "|" + "---|" * (columns.count("|") + 1)]
    for row in bench:
        if row["backbone"] not in loops["medians"]:
            continue
        rates = loops["medians"][row["backbone"]]["images_per_second"]
        ratios = " | ".join(f"{rates[f'ours/{peer}']:.2f}" for peer in peers)
        lines.append(
            f"| `{row['backbone']}` | {row['precision']} | {row['synthetic']:.1f} | {100 * row['ratio']:.0f} % | "
            f"{row['peak_memory_bytes'] / 1e9:.1f} | {ratios} |"
        )
    medians = loops["medians"].values()
    overall = ", ".join(
        f"{statistics.median(m['images_per_second'][f'ours/{peer}'] for m in medians):.2f} times {name}"
        for peer, name in peers.items()
    )
    first = statistics.median(m["first_epoch_seconds"]["ours/seed"] for m in medians)
    machine = bench[0]
    return "\n".join(
        [
            *lines,
            "",
            f"{machine['device']}, torch {machine['torch']}, {machine['size'][0]} pixels, batch {machine['batch_size']}. "
            f"`bench`: medians of four turns. Loops: n = {loops['rounds']}, {loops['steps']} steps each. "
            f"Median over backbones: {overall}; the first epoch, decoding included, is {first:.1f} times as fast as the paper's.",
        ]
    )


def first_run() -> str:
    """The result line of `make run`."""
    run = pictures.digits_runs(load_lines(RUNS), "fine-tuned")[0]
    return f"```\n{format_result(run, Path(f'runs/digits-{pictures.FIRST}-s0-...'))}\n```"


def answer() -> str:
    """The output of `recommend --budget`."""
    found = json.loads(ANSWER.read_text())
    race = format_race(found["race"], found["metric"], found["budget_seconds"])
    return f"```\n{table_text.format_table(found)}\n{race}\n```"


def validated() -> str:
    """How well the scores of `recommend` predicted the fine-tuned order."""
    agreements = agreement.validate(load_lines(BENCHMARKS / "answers.jsonl"), load_lines(RUNS))
    return f"```\n{agreement.format_agreements(agreements)}\n```"


def labels_claim() -> str:
    """Precision and recall of the labels that look wrong, as `probe_claims.py` measures them."""
    from benchmarks.probe_claims import labels_table  # imports torch

    return labels_table(load_lines(BENCHMARKS / "labels_claim.jsonl"))


def images_claim() -> str:
    """The gain of twice the images, predicted from half of them, as `probe_claims.py` measures it."""
    from benchmarks.probe_claims import images_table  # imports torch

    return images_table(load_lines(BENCHMARKS / "images_claim.jsonl"))


def leaks_table(name: str) -> str:
    """A table of `leaks.py`."""
    from benchmarks import leaks

    return getattr(leaks, f"{name}_table")(load_lines(BENCHMARKS / "leaks.jsonl"))


def measured(benchmark: str, table: str = "table") -> str:
    """A table of the benchmark of this name, from its results."""
    module, path = importlib.import_module(f"benchmarks.{benchmark}"), BENCHMARKS / f"{benchmark}.json"
    result = json.loads(path.read_text()) if path.exists() else load_lines(path.with_suffix(".jsonl"))
    return getattr(module, table)(result)


def times() -> str:
    """The duration of the two commands, from `results/times.json`."""
    t = json.loads(TIMES.read_text())
    return (
        f"Measured on {t['machine']}, in an empty environment: `make run` takes {t['make run'] / 60:.1f} minutes, of which "
        f"{t['of it, installing'] / 60:.1f} install {t['installed bytes'] / 1e9:.1f} GB (PyPI's torch includes CUDA), and "
        f"`make test` {t['make test'] / 60:.1f} minutes after that."
    )


def scale() -> str:
    """The measurements of `scale.py`."""
    m = json.loads((BENCHMARKS / "scale.json").read_text())
    sizes = [size for size in next(iter(m["stages"].values())) if size.isdecimal()]
    columns = [f"{int(size):,} images" for size in sizes]
    lines = [f"| CPU seconds, peak memory | {' | '.join(columns)} | exponent |", "|---" * (len(sizes) + 2) + "|"]
    for stage, found in m["stages"].items():
        cells = [f"{found[size]['cpu_seconds']:.1f} s, {found[size]['peak_gb']:.2f} GB" for size in sizes]
        lines.append(f"| {stage} | {' | '.join(cells)} | {found['exponent']:.2f} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{m['hardware']}, one thread, Python {m['python']}, n = 1, files of {m['pixels']} x {m['pixels']} pixels.",
        ]
    )


def sweeps() -> str:
    """The measurements of `sweep_overhead.py`."""
    m = json.loads((BENCHMARKS / "sweep_overhead.json").read_text())
    skip, question, scaling = m["skipping"], m["whole_question"], m["scaling"]
    cpu = {kind: statistics.median(seconds) / 4 for kind, seconds in m["fixed_cpu_seconds"].items()}
    lines = ["| workers | threads each | runs per hour |", "|---|---|---|"]
    lines += [f"| {row['workers']} | {row['threads']} | {row['runs_per_hour']:.0f} |" for row in scaling["rows"]]
    hours = {machines: f"{value:,.0f}" for machines, value in question["hours"].items()}
    older = f", at commit {scaling['commit']} and not since" * (scaling["commit"] != m["commit"])
    return "\n".join(
        [
            f"Fixed cost of a run, {m['device']}, one thread, torch {m['torch']}: {cpu['sweep']:.1f} CPU seconds in a sweep of four, the server's "
            f"imports included, and {cpu['shell']:.1f} as a command (one step on the digits, timm's test network; medians of "
            f"{len(m['fixed_cpu_seconds']['sweep'])}, alternating). A plan of {skip['runs']:,} finished runs is skipped in "
            f"{skip['all_finished_seconds']:.1f} s.",
            "",
            *lines,
            "",
            f"Four short runs on digits (EfficientNet-Lite0, 32 px), two idle cores, torch {scaling['torch']}{older}. The whole grid of "
            f"{question['datasets']} datasets x {question['backbones']} backbones x {question['seeds']} seeds at the data sheets' "
            f"sizes is {question['runs']} runs. At the rates that `bench` measured on two cores it takes {hours['1']} hours on one "
            f"such machine, {hours['8']} on 8 and {hours['64']} on 64. No GPU was available to measure.",
        ]
    )


def same_accuracy() -> str:
    """The results of `same_accuracy.py`."""
    from benchmarks.same_accuracy import difference  # imports torch

    runs = load_lines(BENCHMARKS / "same_accuracy.jsonl")
    parts = []
    for name in dict.fromkeys(run["dataset"] for run in runs):
        ours, plain = (
            [r for r in runs if (r["dataset"], r["pipeline"]) == (name, pipeline)] for pipeline in ("ours", "plain")
        )
        by_seed, (low, high) = difference(ours, plain)
        parts.append(
            f"{100 * by_seed.mean():+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}] on {ours[0]['n']:,} images of {name} "
            f"({len(by_seed)} seeds)"
        )
    return (
        "No loss of accuracy was found. Top-1 minus that of a plain PIL and torchvision pipeline, 95 % intervals: "
        + f"{', '.join(parts[:-1])} and {parts[-1]}."
    )


def mutations() -> str:
    """Mistakes in every room: tried, found by a test, found after tests were added, and those that no test finds."""
    runs = load_lines(BENCHMARKS / "mutations.jsonl")
    rooms = dict.fromkeys(run["room"] for run in runs)
    lines = ["| room | mistakes | found at first | found now | not found |", "|---|---|---|---|---|"]
    for room in [*rooms, "all"]:
        mutants = [run for run in runs if room in (run["room"], "all")]
        left = [run for run in mutants if run["outcome"] == "passed"]
        listed = "; ".join(f"`{r['file'].rsplit('/')[-1]}`: `{r['before']}` as `{r['after']}`" for r in left)
        now, n = len(mutants) - len(left), len(mutants)
        counts = [now - sum("first" in run for run in mutants), now]
        cells = [f"{k} ({100 * k / n:.0f} %)" if room == "all" else str(k) for k in counts]
        lines.append(f"| {room} | {n} | {' | '.join(cells)} | {listed * (room != 'all')} |")
    return "\n".join(lines)


TABLES = {
    "mutations": mutations,
    "peers": peer_tables.peers,
    **{f"recipe_{name}": table for name, table in recipe_tables.TABLES.items()},
    "tree": tree,
    "first_run": first_run,
    "times": times,
    "answer": answer,
    "validated": validated,
    "datasets": datasets,
    "caveats": caveats,
    "backbones": lambda: backbones(BACKBONES),
    "modern": lambda: backbones(MODERN),
    "cifar": cifar,
    "scratch": scratch,
    "results": results,
    "speed": speed,
    "scale": scale,
    "sweeps": sweeps,
    "same_accuracy": same_accuracy,
    "p_best": partial(measured, "p_best_calibration"),
    "labels_claim": labels_claim,
    "images_claim": images_claim,
    "published_order": partial(measured, "finetuned_order"),
    "own_order": partial(measured, "finetuned_order", "own_table"),
    **{
        f"leaks_{name}": partial(leaks_table, name)
        for name in ("groups", "scores", "baselines", "false_alarms", "power")
    },
    "race": partial(measured, "race"),
    "race_short": partial(measured, "race", "short_table"),
    "doubling": partial(measured, "doubling"),
    "race_tau": partial(measured, "race", "tau_table"),
    "race_calibration": partial(measured, "race_calibration"),
    "short_runs": partial(measured, "short_runs"),
    "p_best_real": partial(measured, "p_best_real"),
    "p_best_sentence": partial(measured, "p_best_real", "sentence"),
    "seed_spread": partial(measured, "seed_spread"),
}
MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", re.S)


def fill(page: str) -> str:
    """The page with everything between its markers generated anew."""
    return MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", page)


def main() -> None:
    parser = argparse.ArgumentParser(description="generate the tables and pictures of README.md and docs/")
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN_FOLDER", help="finished runs to add first")
    append_runs(parser.parse_args().runs)
    for page in PAGES:
        page.write_text(fill(page.read_text("utf-8")), "utf-8")
    pictures.draw(load_lines(RUNS), load_lines(SCRATCH), json.loads(ANSWER.read_text()))


if __name__ == "__main__":
    main()
