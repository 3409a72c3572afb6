"""The runs of recipes.py -> the tables of docs/training.md."""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache, partial

from benchmarks.default_runs import PROBE, RECIPE, RECIPES, RESULTS
from common.training.recipes import mean_crop

CLASSES = {"flowers102": 102, "tiny50": 50, "eurosat": 10, "cub": 100, "cifar10": 10, "plants": 8, "ucmerced": 21}
DEFAULT = {**RECIPE, "steps": 300}
TURNED = ("eurosat", "ucmerced")  # `dihedral` is their default, `flip` that of the others
NAMES = {
    "layer_decay": "layer-wise decay 0.8",
    "weight_decay": "weight decay 0.5 instead of 0.05",
    "ema_decay": "average of the weights, decay 0.99",
    "mixup_alpha": "mixup, alpha 0.2",
    "label_smoothing": "no label smoothing",
    "augment": "TrivialAugment instead of crops and flips",
    "head_lr": "ten times the rate for the head",
}

Run = dict
Pair = tuple[str, str]  # dataset, network


@cache
def load() -> list[Run]:
    return [json.loads(line) for line in RECIPES.read_text().splitlines()]


def runs_of(**config: object) -> dict[Pair, Run]:
    """The runs of seed 0 with exactly this configuration."""
    return {(r["data"], r["network"]): r for r in load() if r["config"] == config and r["seed"] == 0}


def parts() -> str:
    """Head, batch norm and rate: top-1 on validation."""
    columns = {"frozen probe": runs_of(**PROBE)}
    for start, head, bn, lr in (
        ("random, batch", "random", "batch", 1e-3),
        ("confident, pretrained", "confident", "pretrained", 3e-4),
        ("probe, batch", "probe", "batch", 1e-3),
        ("probe, pretrained", "probe", "pretrained", 1e-3),
        ("probe, pretrained", "probe", "pretrained", 3e-4),
        ("probe, pretrained", "probe", "pretrained", 1e-4),
    ):
        columns[f"{start}, {lr:g}"] = runs_of(head=head, bn=bn, lr=lr, steps=300)
    rows = []
    for pair in columns["frozen probe"]:
        runs = [column.get(pair) for column in columns.values()]
        if None not in runs:
            rows.append([*names(pair), *bold_highest([100 * run["val_top1"] for run in runs])])
    return table(("images", "network", *columns), rows)


def search() -> str:
    """After 25 steps: NLL on validation, as a fraction of a uniform guess's; after 300: top-1."""
    rates = (1e-4, 3e-4, 1e-3)
    short, full = ([runs_of(head="probe", bn="pretrained", lr=lr, steps=steps) for lr in rates] for steps in (25, 300))
    rows = []
    for pair in (pair for pair in short[0] if all(pair in runs for runs in [*short, *full])):
        nll = [runs[pair]["val_nll"] / math.log(CLASSES[pair[0]]) for runs in short]
        lowest = nll.index(min(nll))
        cells = [f"**{x:.2f}**" if i == lowest else f"{x:.2f}" for i, x in enumerate(nll)]
        rows.append([*names(pair), *cells, *bold_highest([100 * runs[pair]["val_top1"] for runs in full])])
    return table(("images", "network", *(f"{steps} steps at {lr:g}" for steps in (25, 300) for lr in rates)), rows)


def default() -> str:
    """Test top-1 of the frozen probe and of the default; how far it is behind what validation prefers, without the crop of evaluation."""
    gains, behind = [], []
    probes, ours, pairs = runs_of(**PROBE), runs_of(**DEFAULT), cropped_runs()
    for pair in probes.keys() & pairs.keys():
        gains.append(mean_test(pairs[pair]) - 100 * probes[pair]["test_top1"])
        tried = full_runs(pair)
        if len(tried) > 1:
            best = best_on_validation(tried)
            behind.append(100 * (best["test_top1"] - ours[pair]["test_top1"]))
    average, error = mean_and_error(behind)
    text = (
        f"{len(gains)} pairs, {seeds_text(pairs)}; {statistics.fmean(gains):+.1f} points over the probe in the mean, {min(gains):+.1f} at least. Evaluated on whole images, "
        f"what is best on validation of all recipes tried with seed 0 is {average:.1f} ± {error:.1f} points better than the default on test, in the mean of the {len(behind)} "
        f"pairs that had others, and {max(behind):.1f} at most."
    )
    return f"{grid(probes, pairs)}\n\n{text}"


def few(shots: int) -> str:
    """As `default`, with this many training images per class."""
    probes, pairs = runs_of(**PROBE, shots=shots), seeds_of(DEFAULT | {"shots": shots})
    gains = [mean_test(runs) - 100 * probes[pair]["test_top1"] for pair, runs in pairs.items()]
    text = f"{len(gains)} pairs, {seeds_text(pairs)}; {statistics.fmean(gains):+.1f} points in the mean, {min(gains):+.1f} at least."
    return f"{grid(probes, pairs)}\n\n{text}"


def cropped() -> str:
    """What evaluation gains on test by its center crop: points and NLL of the default, seed 0."""
    crop, whole = {pair: runs[0] for pair, runs in cropped_runs().items()}, runs_of(**DEFAULT)
    datasets, networks = (list(dict.fromkeys(names)) for names in zip(*crop, strict=True))
    gains = {
        pair: (100 * (run["test_top1"] - whole[pair]["test_top1"]), run["test_nll"] - whole[pair]["test_nll"])
        for pair, run in crop.items()
    }

    def cell(pair: Pair) -> str:
        return "{:+.1f}, {:+.3f}".format(*gains[pair]) if pair in gains else ""

    rows = [(data, *(cell((data, network)) for network in networks)) for data in datasets]
    of_data = [[gains[data, network] for network in networks if (data, network) in gains] for data in datasets]
    (top1, error), (nll, nll_error) = (
        mean_and_error([statistics.fmean(gain[i] for gain in found) for found in of_data]) for i in (0, 1)
    )
    return (
        f"{table(('images', *(f'`{short(network)}`' for network in networks)), rows)}\n\n"
        f"Mean over datasets: {top1:+.2f} ± {error:.2f} points, NLL {nll:+.3f} ± {nll_error:.3f}."
    )


def mirrored() -> str:
    """What the mean of the logits of an image and its mirror image gains on test, by dataset with three runs of 300 steps."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in load():
        if (
            "test_mirrored_top1" in run
            and run["config"]["steps"] == DEFAULT["steps"]
            and not {"weights", "crop_pct"} & run["config"].keys()
        ):
            found[run["data"]].append(run)
    rows, every = [], []
    for data, runs in found.items():
        if len(runs) < 3:
            continue
        top1, nll = ([run[f"test_mirrored_{name}"] - run[f"test_{name}"] for run in runs] for name in ("top1", "nll"))
        every.append(100 * statistics.fmean(top1))
        rows.append([data, len(runs), f"{every[-1]:+.2f}", f"{statistics.fmean(nll):+.3f}"])
    mean, error = mean_and_error(every)
    head = ("images", "runs", "top-1 (points)", "NLL")
    return (
        f"{table(head, rows)}\n\nMean over datasets: {mean:+.2f} ± {error:.2f} points, for twice the cost of an image."
    )


def augment() -> str:
    """What orientation.py measured, and what crops with all symmetries of the square have on test over mirrored crops."""
    measured = map(json.loads, (RESULTS / "orientation.jsonl").read_text().splitlines())
    flips, turns = (runs_of(**DEFAULT, augment=name) for name in ("flip", "dihedral"))
    networks = list(dict.fromkeys(network for _, network in turns))

    def gain(pair: Pair) -> str:
        if pair not in flips or pair not in turns:
            return ""
        top1, nll = (turns[pair][f"test_{name}"] - flips[pair][f"test_{name}"] for name in ("top1", "nll"))
        return f"{100 * top1:+.1f}, {nll:+.3f}"

    rows = [
        (
            found["data"], f"{100 * found['rotation']:.0f}", f"{100 * found['top1']:.0f}, {100 * found['top1_turned']:.0f}",
            *(gain((found["data"], network)) for network in networks),
        )
        for found in sorted(measured, key=lambda found: found["rotation"])
    ]  # fmt: skip
    columns = (f"turns, `{short(network)}`: points, NLL" for network in networks)
    return table(("images", "rotation found (%)", "top-1 of the probe, turned (%)", *columns), rows)


def grid(probes: dict[Pair, Run], pairs: dict[Pair, list[Run]]) -> str:
    """A line per network, a column per dataset: probe, default."""
    datasets = [data for data in CLASSES if any(data == pair[0] for pair in pairs)]
    networks = list(dict.fromkeys(network for _, network in pairs))

    def cell(pair: Pair) -> str:
        known = pair in probes and pair in pairs
        return f"{100 * probes[pair]['test_top1']:.1f}, {mean_test(pairs[pair]):.1f}" if known else ""

    rows = [(f"`{short(network)}`", *(cell((data, network)) for data in datasets)) for network in networks]
    return table(("network", *datasets), rows)


def seeds_of(config: dict) -> dict[Pair, list[Run]]:
    found: dict[Pair, list[Run]] = defaultdict(list)
    for run in load():
        if run["config"] == config:
            found[run["data"], run["network"]].append(run)
    return found


def cropped_runs() -> dict[Pair, list[Run]]:
    """Those of the default with its crop of evaluation, which depends on the crops of the data sheet."""
    runs: dict[Pair, list[Run]] = {}
    for smallest in (0.5, 0.7):
        of_crop = seeds_of(DEFAULT | {"crop_pct": mean_crop(smallest)})
        runs |= {pair: found for pair, found in of_crop.items() if (pair[0] in TURNED) == (smallest == 0.7)}
    return runs


def full_runs(pair: Pair) -> list[Run]:
    """Those of seed 0 with the length and the data of the default: only parts of the recipe differ."""
    return [
        run
        for run in load()
        if (run["data"], run["network"], run["seed"]) == (*pair, 0)
        and run["config"].keys() <= DEFAULT.keys() | NAMES.keys()
        and run["config"]["steps"] == DEFAULT["steps"]
        and run["config"].get("augment") != ("dihedral" if pair[0] in TURNED else "flip")
    ]


def best_on_validation(runs: Iterable[Run]) -> Run:
    return max(runs, key=lambda run: (run["val_top1"], -run["val_nll"]))


def seeds_text(pairs: dict[Pair, list[Run]]) -> str:
    counts = sorted({len(runs) for runs in pairs.values()})
    return f"seeds per pair: {' or '.join(map(str, counts))}"


def mean_test(runs: list[Run]) -> float:
    return 100 * statistics.fmean(run["test_top1"] for run in runs)


def shift() -> str:
    """What bn_shift.py measured: a line per network, a column per dataset and image size."""
    rows = json.loads((RESULTS / "bn_shift.json").read_text())
    columns = list(dict.fromkeys((row["data"], row["side"]) for row in rows))
    found = {(row["network"], row["data"], row["side"]): row["shift"] for row in rows}
    lines = [
        (f"`{short(network)}`", *(f"{found[network, *column]:.1f}" for column in columns))
        for network in dict.fromkeys(row["network"] for row in rows)
    ]
    return table(("network", *(f"{data}, {side} pixels" for data, side in columns)), lines)


def factors() -> str:
    """Main effects of the fractional factorial over pairs, and their share of the variance within pairs."""
    effects: dict[str, list[float]] = defaultdict(list)
    nll: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    within = pairs = 0
    for design in factorial().values():
        mean = statistics.fmean(run["val_top1"] for run in design)
        within += sum((100 * (run["val_top1"] - mean)) ** 2 for run in design)
        pairs += 1
        for part in NAMES:
            sides = [[run for run in design if (part in run["config"]) == used] for used in (True, False)]
            for found, key, scale in ((effects, "val_top1", 100), (nll, "val_nll", 1), (seconds, "seconds", 1)):
                used, unused = (scale * statistics.fmean(run[key] for run in side) for side in sides)
                found[part].append(used / unused if key == "seconds" else used - unused)
    rows = []
    for part, values in sorted(effects.items(), key=lambda item: -statistics.fmean(item[1])):
        mean, error = mean_and_error(values)
        square = 2 * pairs * mean**2  # of the main effect: eight runs of a pair at +- half of it
        rows.append([
            NAMES[part], f"{mean:+.1f} ± {error:.1f}", f"{min(values):+.1f} to {max(values):+.1f}", f"{100 * square / within:.0f} %",
            f"{statistics.fmean(nll[part]):+.3f}", f"{statistics.fmean(seconds[part]):.2f}",
        ])  # fmt: skip
    head = (
        "part",
        "top-1 (points), ± standard error",
        f"range over {pairs} pairs",
        "share of variance",
        "NLL",
        "times the seconds",
    )
    return table(head, rows)


def factorial() -> dict[Pair, list[Run]]:
    """The pairs whose eight configurations are all there."""
    designs = defaultdict(list)
    for run in load():
        others = run["config"].keys() - DEFAULT.keys()
        if (
            DEFAULT.items() <= run["config"].items()
            and others <= NAMES.keys()
            and run["seed"] == 0
            and len(others) in (0, 4)
        ):
            designs[run["data"], run["network"]].append(run)
    return {pair: runs for pair, runs in designs.items() if len(runs) == 8}


def mean_and_error(values: list[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5


def names(pair: Pair) -> tuple[str, str]:
    return pair[0], f"`{short(pair[1])}`"


def short(network: str) -> str:
    return network.rpartition(":")[2]


def bold_highest(values: list[float]) -> list[str]:
    return [f"**{x:.1f}**" if x == max(values) else f"{x:.1f}" for x in values]


def table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows])


TABLES = {
    "parts": parts,
    "search": search,
    "default": default,
    "few": partial(few, 5),
    "twenty": partial(few, 20),
    "crop": cropped,
    "mirrored": mirrored,
    "augment": augment,
    "shift": shift,
    "factors": factors,
}
