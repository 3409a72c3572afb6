"""Finished runs -> `results/runs.jsonl`, those from scratch `results/scratch.jsonl` -> the README's tables and pictures.

    python benchmarks/readme.py runs/digits-* runs/eurosat-*     # add these runs, then write
    python benchmarks/readme.py                                  # write again

A run is kept once; a figure in the README is never typed. `benchmarks/results/answers.jsonl` holds what `recommend --out`
has written, a line each, without the paths of the machine.
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.cli.format import format_result  # noqa: E402
from common.models.registry import (  # noqa: E402
    BACKBONES,
    CIFAR,
    MODERN,
    Backbone,
)
from common.recommend import text, validate  # noqa: E402
from common.report import scratch_table  # noqa: E402
from common.report.runs import parse_result  # noqa: E402
from common.report.sections import build_sections  # noqa: E402
from common.report.tables import run_table  # noqa: E402

RUNS, SCRATCH = ROOT / "results" / "runs.jsonl", ROOT / "results" / "scratch.jsonl"
README = ROOT / "README.md"
TIMES = ROOT / "results" / "times.json"
SWEEPS = ROOT / "benchmarks" / "results" / "sweep_overhead.json"
BENCH = ROOT / "benchmarks" / "results" / "bench_cpu.json"
LOOPS = ROOT / "benchmarks" / "results" / "compare_loops_cpu.json"
SAME = ROOT / "benchmarks" / "results" / "same_accuracy.jsonl"
ANSWERS = ROOT / "benchmarks" / "results" / "answers.jsonl"
PICTURE, CURVES = ROOT / "results" / "digits.png", ROOT / "results" / "scratch.png"

FIRST = "efficientnet_lite0"  # what `make run` fine-tunes

Run = dict


def read(folder: Path) -> Run:
    """A finished run: its result and its epochs."""
    result = json.loads((folder / "result.json").read_text())
    epochs = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    del result["command"]  # it holds paths of the machine
    kept = ("step", "epoch", "train_loss", "train_top1", "val_nll", "val_top1")
    shown = [{name: round(epoch[name], 6) for name in kept if name in epoch} for epoch in epochs]
    return {**result, "epochs": shown}


def add(folders: list[Path]) -> None:
    for file, from_nothing in ((RUNS, False), (SCRATCH, True)):
        new = [run for run in map(read, folders) if (run["protocol"] == "scratch") == from_nothing]
        lines = [*file.read_text().splitlines(), *map(json.dumps, new)]
        file.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)))


def runs(file: Path = RUNS) -> list[Run]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def start(run: Run) -> str:
    if run["protocol"] == "probe":
        return "frozen"
    return "from scratch" if run["weights"] == "none" else "fine-tuned"


def results(every: list[Run]) -> str:
    """The report's listing of all runs, each named after its line."""
    rows = [parse_result(run, Path(str(line))) for line, run in enumerate(every)]
    return run_table(build_sections(rows, {}))


def backbones(rows: tuple[Backbone, ...]) -> str:
    """The table of `python -m common list`, with aliases where there are some."""
    short = any(row.aliases for row in rows)
    last = "short name" if short else "pretrained on"
    lines = [
        f"| backbone | parameters (M) | ImageNet top-1 (%) | at | weights | {last} |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        weights = row.enum or f"`{row.weights.rsplit('/', 1)[1]}`"
        checked = row.sha256 or ("" if row.weights.startswith("hf:") else "(no checksum)")
        told = ", ".join(f"`{alias}`" for alias in row.aliases) if short else row.pretrained_on
        top1 = "" if row.top1 is None else f"{100 * row.top1:.2f}"
        lines.append(
            f"| `{row.name}` | {row.params / 1e6:.2f} | {top1} | {row.size} | {f'{weights} {checked}'.strip()} | {told} |"
        )
    return "\n".join(lines)


def cifar() -> str:
    """The networks without ImageNet weights, as `tests/test_cifar_networks.py` counts them."""
    lines = ["| network | parameters (M) | MACs (G) |", "|---|---|---|"]
    lines += [f"| `{row.name}` | {row.params / 1e6:.3f} | {row.macs / 1e9:.3f} |" for row in CIFAR]
    return "\n".join(lines)


def speed() -> str:
    """What `bench` and `compare_loops.py` have measured."""
    bench, loops = (json.loads(path.read_text()) for path in (BENCH, LOOPS))
    every = loops["medians"]
    peers = {"seed": "the paper's", "torchvision": "torchvision's", "timm": "timm's"}
    lines = [
        "| backbone | number format | network alone (img/s) | end to end | memory (GB) | "
        + " | ".join(f"times {name}" for name in peers.values())
        + " |",
        "|" + "---|" * (5 + len(peers)),
    ]
    for row in bench:
        medians = every.get(row["backbone"])
        if not medians:
            continue
        ratios = " | ".join(f"{medians['images_per_second'][f'ours/{peer}']:.2f}" for peer in peers)
        lines.append(
            f"| `{row['backbone']}` | {row['precision']} | {row['synthetic']:.1f} | {100 * row['ratio']:.0f} % | "
            f"{row['peak_memory_bytes'] / 1e9:.1f} | {ratios} |"
        )
    over = {
        peer: statistics.median(m["images_per_second"][f"ours/{peer}"] for m in every.values())
        for peer in peers
    }
    first = statistics.median(m["first_epoch_seconds"]["ours/seed"] for m in every.values())
    machine = bench[0]
    return "\n".join(
        [
            *lines,
            "",
            f"{machine['device']}, torch {machine['torch']}, {machine['size'][0]} pixels, batch {machine['batch_size']}; "
            f"medians of four turns, and n = {loops['rounds']} for the loops, of {loops['steps']} steps each. "
            "Median over backbones: "
            + ", ".join(f"{ratio:.2f} times {peers[peer]}" for peer, ratio in over.items())
            + f"; the first epoch, decoding included, {first:.1f} times as fast as the paper's.",
        ]
    )


def digits(every: list[Run], begin: str) -> list[Run]:
    """The runs of `make run`'s network on its images, by seed."""
    runs = (r for r in every if r["dataset"] == "digits" and r["backbone"] == FIRST and start(r) == begin)
    return sorted(runs, key=lambda r: r["seed"])


def last_line(every: list[Run]) -> str:
    """What `make run` ends with."""
    run = digits(every, "fine-tuned")[0]
    return f"```\n{format_result(run, Path(f'runs/digits-{FIRST}-s0-...'))}\n```"


def answer() -> str:
    """What `recommend --finetune` has answered."""
    (seen,) = (told for told in runs(ANSWERS) if told.get("finals"))
    return f"```\n{text.format_table(seen)}\n{text.format_finals(seen['finals'])}\n```"


def validated(every: list[Run]) -> str:
    """How well the answers foretold what the runs say."""
    agreements = validate.validate(runs(ANSWERS), every)
    means = {score: validate.mean(agreements, score) for score in validate.SCORES}
    return f"```\n{text.format_agreements(agreements, means, validate.SCORES)}\n```"


def times() -> str:
    """How long the two commands take, from `results/times.json`."""
    seen = json.loads(TIMES.read_text())
    return (
        f"Measured on {seen['machine']}, in an empty environment: `make run` {seen['make run'] / 60:.1f} minutes, of which "
        f"{seen['of it, installing'] / 60:.1f} install {seen['installed bytes'] / 1e9:.1f} GB (PyPI's torch brings CUDA along), `make test` "
        f"{seen['make test'] / 60:.1f} minutes after that."
    )


def sweeps() -> str:
    """What `sweep_overhead.py` has measured."""
    seen = json.loads(SWEEPS.read_text())
    skip, whole, took = seen["skipping"], seen["whole_question"], seen["seconds"]
    shares = [sweep / shell - 1 for sweep, shell in zip(took["sweep"], took["shell"], strict=True)]
    lines = ["| workers | threads each | runs per hour |", "|---|---|---|"]
    lines += [
        f"| {row['workers']} | {row['threads']} | {row['runs_per_hour']:.0f} |" for row in seen["scaling"]
    ]
    hours = whole["hours"]
    return "\n".join(
        [
            *lines,
            "",
            f"Four short runs on digits (EfficientNet-Lite0, 32 px), {seen['device']}, torch {seen['torch']}. Beside the same commands in a shell the sweep took "
            f"{', '.join(f'{100 * share:+.1f}' for share in shares)} % more time (n = {len(shares)}). A plan of {skip['runs']:,} finished runs is through in "
            f"{skip['all_finished_seconds']:.1f} s. The whole question, {whole['datasets']} datasets x {whole['backbones']} backbones x {whole['seeds']} seeds at the sheets' sizes, is "
            f"{whole['runs']} runs and, by the rates that `bench` measured on two cores, {hours['1']:,.0f} hours on one such machine, {hours['8']:,.0f} on 8 and "
            f"{hours['64']:,.0f} on 64; for GPUs, divide by what `bench` tells there: none was at hand.",
        ]
    )


def same_accuracy() -> str:
    """What `same_accuracy.py` has measured."""
    from benchmarks.same_accuracy import difference  # it loads torch

    seen = runs(SAME)
    told = []
    for name in dict.fromkeys(run["dataset"] for run in seen):
        ours, plain = (
            [r for r in seen if (r["dataset"], r["pipeline"]) == (name, p)] for p in ("ours", "plain")
        )
        by_seed, (low, high) = difference(ours, plain)
        told.append(
            f"{100 * by_seed.mean():+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}] on {ours[0]['n']:,} images of {name} "
            f"({len(by_seed)} seeds)"
        )
    return (
        "No accuracy is seen to be lost. Top-1 less that of a plain PIL and torchvision pipeline, 95 % intervals: "
        + ", ".join(told[:-1]) + f" and {told[-1]}; see [LOG.md](LOG.md)."
    )  # fmt: skip


def picture(every: list[Run]) -> None:
    """Validation accuracy per epoch on the digits, fine-tuned and from scratch."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = {"fine-tuned": "#1f6fb4", "from scratch": "#d1495b"}
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for begin, colour in colours.items():
        members = digits(every, begin)
        height, width = members[0]["preprocess"]["size"]
        label = f"{begin} ({members[0]['backbone']}, {height}x{width}, {len(members)} seeds)"
        for i, run in enumerate(members):
            x, y = zip(*((e["epoch"], 100 * e["val_top1"]) for e in run["epochs"]), strict=True)
            axes.plot(x, y, color=colour, label=None if i else label)
    axes.set(xlabel="epoch", ylabel="validation top-1 (%)", title="1,797 handwritten digits on two CPU cores")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(PICTURE, dpi=120)


def curves(every: list[Run]) -> None:
    """Validation accuracy per step of the networks from scratch: all at one short schedule, one at a longer one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    def setting(run: Run) -> tuple[int, int]:
        return run["recipe"]["phases"][0]["steps"], run["batch_size"]

    settings = sorted({setting(run) for run in every})
    figure, panels = plt.subplots(
        1, len(settings), figsize=(5.5 * len(settings), 4), layout="constrained", squeeze=False
    )
    for axes, (steps, batch) in zip(panels[0], settings, strict=True):
        members = [run for run in every if setting(run) == (steps, batch)]
        names = list(dict.fromkeys(run["backbone"] for run in members))
        for run in members:
            x, y = zip(*((e["step"], 100 * e["val_top1"]) for e in run["epochs"]), strict=True)
            i = names.index(run["backbone"])
            label = run["backbone"].removesuffix("_cifar") if run["seed"] == 0 else None
            axes.plot(x, y, color=plt.get_cmap("tab20")(i), label=label)
        axes.set(xlabel="step", ylabel="validation top-1 (%)", title=f"{steps:,} steps of {batch}")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=7, ncols=2)
    train = every[0]["split"]["train"]
    figure.suptitle(f"From scratch on {train:,} images of CIFAR-10")
    figure.savefig(CURVES, dpi=110)


def write(text: str, name: str, content: str) -> str:
    """`text` with `content` between the markers of `name`."""
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    if not re.search(pattern, text, re.S):
        raise SystemExit(f"README.md has no markers <!-- {name} -->")
    return re.sub(pattern, lambda found: f"{found[1]}{content}\n{found[2]}", text, flags=re.S)


def filled(text: str) -> str:
    """The README with everything between its markers as it should be."""
    parts = {
        "digits": last_line(runs()),
        "times": times(),
        "answer": answer(),
        "validated": validated(runs()),
        "backbones": backbones(BACKBONES),
        "modern": backbones(MODERN),
        "cifar": cifar(),
        "scratch": scratch_table.format_table(runs(SCRATCH)),
        "results": results(runs()),
        "speed": speed(),
        "sweeps": sweeps(),
        "same": same_accuracy(),
    }
    for name, content in parts.items():
        text = write(text, name, content)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description="add finished runs to results/runs.jsonl and write the README's tables"
    )
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN_FOLDER")
    add(parser.parse_args().runs)
    README.write_text(filled(README.read_text()))
    picture(runs())
    curves(runs(SCRATCH))


if __name__ == "__main__":
    main()
