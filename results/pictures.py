"""The pictures of README.md and docs/, drawn by `benchmarks/readme.py`."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).resolve().parent
FIRST = "efficientnet_lite0"  # the backbone of `make run`

Run = dict


def digits_runs(runs: list[Run], start: str) -> list[Run]:
    """The runs of `make run`'s backbone on the digits, by seed. `start`: "fine-tuned" or "from scratch"."""
    members = [
        run
        for run in runs
        if (run["dataset"], run["backbone"], run["protocol"]) == ("digits", FIRST, "clean")
        and (run["weights"] == "none") == (start == "from scratch")
    ]
    return sorted(members, key=lambda run: run["seed"])


def finetuned_answer(answers: list[dict]) -> dict:
    """The one recommendation with `--finetune`."""
    (found,) = (answer for answer in answers if answer.get("finals"))
    return found


def digits(runs: list[Run]) -> None:
    """Validation accuracy per epoch, fine-tuned and from scratch."""
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for start, colour in {"fine-tuned": "#1f6fb4", "from scratch": "#d1495b"}.items():
        members = digits_runs(runs, start)
        height, width = members[0]["preprocess"]["size"]
        label = f"{start} ({members[0]['backbone']}, {height}x{width}, {len(members)} seeds)"
        for i, run in enumerate(members):
            x, y = zip(*((e["epoch"], 100 * e["val_top1"]) for e in run["epochs"]), strict=True)
            axes.plot(x, y, color=colour, label=None if i else label)
    axes.set(xlabel="epoch", ylabel="validation top-1 (%)", title="1,797 handwritten digits on two CPU cores")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(RESULTS / "digits.png", dpi=120)


def answer(answers: list[dict]) -> None:
    """The ranking before training next to the fine-tuned result: scores, 95 % intervals, P(best)."""
    found = finetuned_answer(answers)
    finals = found["finals"]
    panels = {
        f"before training: linear probe on {found['images']:,} images": [
            {**row, "name": row["backbone"]} for row in found["backbones"]
        ],
        f"fine-tuned: {finals['test_images']:,} test images": finals["backbones"],
    }
    names = [row["backbone"] for row in reversed(found["backbones"])]
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.4), layout="constrained", sharey=True)
    for panel, (title, rows) in zip(axes, panels.items(), strict=True):
        for row in rows:
            y, score, (low, high) = names.index(row["name"]), 100 * row["score"], row["interval"]
            colour = "#1f6fb4" if row is rows[0] else "#6b7680"
            panel.plot([100 * low, 100 * high], [y, y], color=colour, lw=2, solid_capstyle="round")
            panel.plot(score, y, "o", color=colour, ms=7)
            label = f"{score:.1f} %, P(best) {row['p_best']:.2f}"
            panel.annotate(label, (score, y), (0, 9), textcoords="offset points", ha="center", fontsize=8.5)
        panel.set_title(title, fontsize=9.5)
        panel.set(xlabel="top-1 (%), 95 % interval", ylim=(-0.5, len(names) - 0.2))
        panel.grid(axis="x", alpha=0.3)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(length=0)
    axes[0].set_yticks(range(len(names)), names)
    figure.savefig(RESULTS / "answer.png", dpi=120)


def recipes(runs: list[Run]) -> None:
    """The ranking of the networks under one recipe beside that of each at its best, on validation."""
    data = {
        "flowers102": "Flowers-102",
        "tiny50": "Tiny ImageNet, 50 classes",
        "eurosat": "EuroSAT, 1,000 images",
    }
    colours = {
        "efficientnet_lite0": "#1f6fb4",
        "timm:mobilenetv2_100": "#d1495b",
        "timm:mobilenetv1_100": "#6b7680",
    }
    one = {"head": "random", "bn": "batch", "lr": 1e-3, "steps": 300}
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
    for panel, (name, title) in zip(axes, data.items(), strict=True):
        for network, colour in colours.items():
            tried = [r for r in runs if (r["data"], r["network"]) == (name, network)]
            scores = [
                100 * next(r["val_top1"] for r in tried if r["config"] == one),
                100 * max(r["val_top1"] for r in tried),
            ]
            panel.plot([0, 1], scores, "o-", color=colour, label=network.removeprefix("timm:"))
        panel.set_title(title, fontsize=9.5)
        panel.set_xticks([0, 1], ["one recipe", "each at its best"])
        panel.set(xlim=(-0.3, 1.3))
        panel.grid(axis="y", alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("validation top-1 (%)")
    axes[0].legend(frameon=False, fontsize=7.5)
    figure.savefig(RESULTS / "recipes.png", dpi=120)


def scratch(runs: list[Run]) -> None:
    """Validation accuracy per step of the CIFAR networks, one panel per schedule."""

    def schedule(run: Run) -> tuple[int, int]:
        return run["recipe"]["phases"][0]["steps"], run["batch_size"]

    schedules = sorted({schedule(run) for run in runs})
    figure, panels = plt.subplots(
        1, len(schedules), figsize=(5.5 * len(schedules), 4), layout="constrained", squeeze=False
    )
    for axes, (steps, batch) in zip(panels[0], schedules, strict=True):
        members = [run for run in runs if schedule(run) == (steps, batch)]
        names = list(dict.fromkeys(run["backbone"] for run in members))
        for run in members:
            x, y = zip(*((e["step"], 100 * e["val_top1"]) for e in run["epochs"]), strict=True)
            label = run["backbone"].removesuffix("_cifar") if run["seed"] == 0 else None
            axes.plot(x, y, color=plt.get_cmap("tab20")(names.index(run["backbone"])), label=label)
        axes.set(xlabel="step", ylabel="validation top-1 (%)", title=f"{steps:,} steps of {batch}")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=7, ncols=2)
    figure.suptitle(f"From scratch on {runs[0]['split']['train']:,} images of CIFAR-10")
    figure.savefig(RESULTS / "scratch.png", dpi=110)


def draw(runs: list[Run], scratch_runs: list[Run], answers: list[dict], recipe_runs: list[Run]) -> None:
    digits(runs)
    scratch(scratch_runs)
    answer(answers)
    recipes(recipe_runs)
