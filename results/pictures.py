"""The pictures of README.md and docs/, drawn by `benchmarks/readme.py`."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.recipe_tables import full_runs

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


def answer(found: dict) -> None:
    """The probes of a recommendation, with 95 % intervals, next to the expected losses after its race, with P(best)."""
    probes = {row["backbone"]: row for row in found["backbones"]}
    names = [row["name"] for row in reversed(found["race"]["backbones"])]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained", sharey=True)
    for y, name in enumerate(names):
        row, raced = probes[name], found["race"]["backbones"][len(names) - 1 - y]
        colour = "#1f6fb4" if name == names[-1] else "#6b7680"
        low, high = row["interval"]
        axes[0].plot([100 * low, 100 * high], [y, y], color=colour, lw=2, solid_capstyle="round")
        axes[0].plot(100 * row["score"], y, "o", color=colour, ms=7)
        axes[1].plot([0, 100 * raced["regret"]], [y, y], color=colour, lw=2, solid_capstyle="round")
        axes[1].plot(100 * raced["regret"], y, "o", color=colour, ms=7)
        label = f"{100 * raced['regret']:.1f}, P(best) {raced['p_best']:.2f}"
        axes[1].annotate(
            label, (100 * raced["regret"], y), (8, 0), textcoords="offset points", va="center", fontsize=8.5
        )
    minutes = found["race"]["seconds"] / 60
    n_runs = sum(sum(row["runs"].values()) for row in found["race"]["backbones"])
    axes[0].set_title(f"frozen: linear probe on {found['images']:,} images", fontsize=9.5)
    axes[1].set_title(f"after {n_runs} short fine-tuning runs ({minutes:.0f} minutes)", fontsize=9.5)
    axes[0].set(xlabel="top-1 (%), 95 % interval", ylim=(-0.5, len(names) - 0.5))
    axes[1].set(xlabel="expected loss against the best (points)")
    axes[1].set_xlim(0, 1.5 * max(100 * row["regret"] for row in found["race"]["backbones"]))
    for panel in axes:
        panel.grid(axis="x", alpha=0.3)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(length=0)
    axes[0].set_yticks(range(len(names)), [name.partition("=")[0] for name in names])
    figure.savefig(RESULTS / "answer.png", dpi=120)


def recipes() -> None:
    """The ranking of the networks under one recipe beside that of each at its best, on validation."""
    data = {"flowers102": "Flowers-102", "tiny50": "Tiny ImageNet, 50 classes", "eurosat": "EuroSAT, 1,000 images"}
    colours = {"efficientnet_lite0": "#1f6fb4", "timm:mobilenetv2_100": "#d1495b", "timm:mobilenetv1_100": "#6b7680"}
    one = {"head": "random", "bn": "batch", "lr": 1e-3, "steps": 300}
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.9), layout="constrained")
    for panel, (name, title) in zip(axes, data.items(), strict=True):
        for network, colour in colours.items():
            tried = full_runs((name, network))
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
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8.5
    )
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


def draw(runs: list[Run], scratch_runs: list[Run], found: dict) -> None:
    digits(runs)
    scratch(scratch_runs)
    recipes()
    answer(found)
