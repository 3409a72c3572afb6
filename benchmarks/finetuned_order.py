"""What predicts the order of fine-tuned networks: ImageNet's top-1, their scores on other datasets, a linear probe?

    python benchmarks/finetuned_order.py --transfers ../shared/reference/transfers --timm 2022.csv 2026.csv

Published: 11 torchvision networks on 11 datasets (Shao et al. 2022, arXiv 2207.03036) and 86 timm networks on Oxford Pets and Planet
(Capelle & Howard, github.com/tcapelle/fastai_timm: three runs of a setting, the setting with the best mean). Own: the default recipe in
`results/recipes.jsonl`, the probe on validation images, the fine-tuned networks on test images.
Every dataset is predicted from the others alone; scores are compared as log odds within a dataset.
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy import ndarray
from scipy.special import logit
from scipy.stats import weightedtau

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import default_runs
from benchmarks.default_runs import RESULTS
from common.recommend.finetuned_order import Fit

OUT = RESULTS / "finetuned_order.json"
CARRIED = ROOT / "common" / "recommend" / "published.csv"
SAME = 0.0007  # difference of the top-1 of the same weights, measured in other years
# as published; torchvision's are of IMAGENET1K_V1
TOP1 = {
    "efficientnet_lite0": 0.751, "efficientnet_lite1": 0.767, "efficientnet_lite2": 0.776, "timm:mobilenetv2_100": 0.719,
    "timm:mobilenetv1_100": 0.709, "torchvision:squeezenet1_1": 0.582,
}  # fmt: skip
Table = dict[str, dict[str, float]]  # {dataset: {network: score}}


def sfda(folder: Path) -> tuple[Table, dict[str, float]]:
    from torchvision.models import get_model_weights

    with open(folder / "sfda_supervised.csv", newline="") as file:
        table = {row.pop("dataset"): {k: float(v) / 100 for k, v in row.items()} for row in csv.DictReader(file)}
    table = {dataset: {f"torchvision:{n}.IMAGENET1K_V1": v for n, v in row.items()} for dataset, row in table.items()}
    names = next(iter(table.values()))
    weights = {n: get_model_weights(n.split(":")[1].split(".")[0]).IMAGENET1K_V1 for n in names}
    return table, {name: w.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100 for name, w in weights.items()}


def fastai_timm(folder: Path, then: Path, now: Path) -> tuple[Table, dict[str, float]]:
    """Networks with a top-1 in timm's results of July 2022, under today's names of the same weights."""
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    with open(folder / "pets_planet_timm.csv", newline="") as file:
        for row in csv.DictReader(file):
            errors[row["dataset"], row["model_name"]].append(float(row["error_rate"] or "nan"))
    former, today = top1_of(then), top1_of(now)
    table: Table = defaultdict(dict)
    top1: dict[str, float] = {}
    for (dataset, name), values in errors.items():
        means = [np.mean(values[i : i + 3]) for i in range(0, len(values), 3)]
        if name not in former or np.isnan(means).all():
            continue
        arch = name.removesuffix("_in22ft1k")
        tags = [w for w in today if w.split(".")[0] == arch and abs(today[w] - former[name]) < SAME]
        key = f"timm:{min(tags, key=lambda w: abs(today[w] - former[name])) if tags else name}"
        table[dataset][key], top1[key] = float(1 - np.nanmin(means)), former[name]
    return table, top1


def top1_of(results: Path) -> dict[str, float]:
    with open(results, newline="") as file:
        return {row["model"]: float(row["top1"]) / 100 for row in csv.DictReader(file)}


def residuals(table: Table, top1: dict[str, float]) -> tuple[list[str], ndarray]:
    """Networks that all datasets have, and their mean log odds less what ImageNet's top-1 predicts."""
    names = [n for n in top1 if all(n in scores for scores in table.values())]
    prior = centred([top1[n] for n in names])
    mean = np.mean([centred([scores[n] for n in names]) for scores in table.values()], 0)
    return names, mean - (prior @ mean) / (prior @ prior) * prior


def transfer_weight(tables: Sequence[tuple[Table, dict[str, float]]]) -> float:
    """Slope of a dataset's residuals on those of the other datasets."""
    products = squares = 0.0
    for table, top1 in tables:
        for dataset, scores in table.items():
            names, others = residuals({d: s for d, s in table.items() if d != dataset}, top1)
            _, own_residuals = residuals({dataset: scores}, {n: top1[n] for n in names if n in scores})
            others = others[[n in scores for n in names]]
            products, squares = products + others @ own_residuals, squares + others @ others
    return float(products / squares)


def write_carried(sources: Sequence[tuple[str, Table, dict[str, float]]]) -> None:
    """The means that the project carries."""
    with open(CARRIED, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("weights", "imagenet_top1", "transfer", "datasets", "source"))
        for source, table, top1 in sources:
            for name, value in zip(*residuals(table, top1), strict=True):
                if "." not in name:  # weights that timm no longer has
                    continue
                rows.writerow((name, f"{top1[name]:.4f}", f"{value:.2f}", len(table), source))


def own(datasets: Sequence[default_runs.Dataset]) -> list[dict]:
    """Probe and fine-tuned score of a network on a dataset, {dataset, shots, network, probe, finetuned}."""
    return [
        {"dataset": d.data, "shots": d.shots, "network": name, "probe": probe, "finetuned": score / 100}
        for d in datasets
        for name, probe, score in zip(d.names, d.probe, d.truth.tolist(), strict=True)
    ]


def centred(values: Sequence[float]) -> ndarray:
    """Log odds less their mean; a score of 1 counts as .9995."""
    odds = logit(np.minimum(values, 0.9995))
    return odds - odds.mean()


def quality(truth: Sequence[float], predicted: ndarray) -> dict[str, float]:
    """Regret of the first choice and weighted tau."""
    truth = np.asarray(truth)
    return {
        "regret": float(truth.max() - truth[int(np.argmax(predicted))]),
        "tau": float(weightedtau(truth, predicted).statistic),
    }


def published(source: str, table: Table, top1: dict[str, float]) -> list[dict]:
    rows = []
    for dataset, scores in table.items():
        names = [n for n in scores if n in top1 and all(n in other for other in table.values())]
        truth, prior = [scores[n] for n in names], centred([top1[n] for n in names])
        others = [centred([other[n] for n in names]) for key, other in table.items() if key != dataset]
        standing = np.mean(others, 0)
        slope = np.mean([prior @ other for other in others]) / (prior @ prior)
        rows.append(
            {
                "source": source,
                "dataset": dataset,
                "networks": len(names),
                "random": float(max(truth) - np.mean(truth)),
                "top1": quality(truth, prior),
                "standing": quality(truth, standing),
                "slope": float(slope),
                "eps": float((centred(truth) - slope * prior).std(ddof=1)),
            }
        )
    return rows


def uplift(pairs: Sequence[dict]) -> float:
    """The mean of fine-tuned less probe, in log odds."""
    return float(np.mean([logit(p["finetuned"]) - logit(p["probe"]) for p in pairs]))


def predictor(pairs: Sequence[dict], used: Sequence[str]) -> dict:
    """final = beta probe + gamma top-1 + eps within a dataset and number of images, fitted to the other datasets; `used`: predictors."""
    datasets = list(dict.fromkeys((p["dataset"], p["shots"]) for p in pairs))
    x, y, scores = {}, {}, {}
    for dataset in datasets:
        rows = [pair for pair in pairs if (pair["dataset"], pair["shots"]) == dataset]
        columns = {"probe": [r["probe"] for r in rows], "top1": [TOP1[r["network"]] for r in rows]}
        x[dataset] = np.stack([centred(columns[name]) for name in used], 1) if used else np.zeros((len(rows), 0))
        scores[dataset] = [row["finetuned"] for row in rows]
        y[dataset] = centred(scores[dataset])

    def weights(names: Sequence[tuple]) -> ndarray:
        return np.linalg.lstsq(np.concatenate([x[d] for d in names]), np.concatenate([y[d] for d in names]))[0]

    residuals, qualities, freedom = [], [], 0
    for dataset in datasets:
        data, shots = dataset
        predicted = x[dataset] @ weights([other for other in datasets if other[0] != data])
        residuals.append(y[dataset] - predicted)
        freedom += len(predicted) - 1
        names = {"dataset": data, "shots": shots, "networks": len(predicted)}
        qualities.append(names | quality(scores[dataset], predicted))
    sd = float(np.sqrt(np.square(np.concatenate(residuals)).sum() / freedom))
    return {"used": list(used), "weights": weights(datasets).tolist(), "eps": sd, "datasets": qualities}


def fit(pairs: Sequence[dict]) -> Fit:
    """The prediction from probe and top-1."""
    found = predictor(pairs, ("probe", "top1"))
    return Fit(uplift(pairs), *found["weights"], found["eps"])


def random_losses(datasets: Sequence[default_runs.Dataset], fitted: Fit) -> list[dict]:
    """By how much a network from random weights ends below its prediction, in log odds, where those with weights are right in the mean."""
    found = []
    for data in datasets:
        known = [k for k, name in enumerate(data.names) if name in TOP1]
        prior = centred([TOP1[data.names[k]] for k in known])
        for k, name in enumerate(data.names):
            if not name.endswith(default_runs.RANDOM):
                continue
            some = [*known, k]
            probes, truth = logit(np.array(data.probe)[some]), logit(data.truth[some] / 100)
            error = truth - fitted.beta * probes
            level = np.mean(error[:-1] - fitted.gamma * prior)
            found.append({"dataset": data.data, "network": name, "loss": float(level - error[-1])})
    return found


def table(result: dict) -> str:
    """The published datasets, one line per source, then the own ones."""
    lines = [
        "| datasets | networks | random choice | ImageNet top-1: regret | tau | other datasets: regret | tau |",
        "|---|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[dict]] = defaultdict(list)
    for row in result["published"]:
        groups[row["source"] if row["source"] == "Shao et al." else f"{row['source']}: {row['dataset']}"].append(row)
    for source, rows in groups.items():
        cells = [f"{100 * np.mean([r['random'] for r in rows]):.2f}"]
        for name in ("top1", "standing"):
            cells += [
                f"{100 * np.mean([r[name]['regret'] for r in rows]):.2f}",
                f"{np.mean([r[name]['tau'] for r in rows]):.2f}",
            ]
        title = f"{source}, {len(rows)} datasets" if len(rows) > 1 else source
        lines.append(f"| {title} | {rows[0]['networks']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def own_table(result: dict) -> str:
    titles = {
        (): "nothing (all equal)",
        ("top1",): "ImageNet top-1",
        ("probe",): "probe",
        ("probe", "top1"): "probe and top-1",
    }
    lines = [
        "| predicted from | regret, mean (worst) | tau, mean | error of a network: log odds | points at 85 % |",
        "|---|---|---|---|---|",
    ]
    for row in result["own"]:
        regret = [100 * d["regret"] for d in row["datasets"]]
        tau = "" if not row["used"] else f"{np.mean([d['tau'] for d in row['datasets']]):.2f}"
        shown = f"{np.mean(regret):.2f} ({max(regret):.2f})" if row["used"] else ""
        lines.append(
            f"| {titles[tuple(row['used'])]} | {shown} | {tau} | {row['eps']:.2f} | {100 * row['eps'] * 0.85 * 0.15:.1f} |"
        )
    sets = [row["shots"] for row in result["own"][0]["datasets"]]
    counts = [
        f"{sets.count(shots)} with {shots or 'all'} {'per class' if shots else 'images'}"
        for shots in dict.fromkeys(sets)
    ]
    return "\n".join(
        [*lines, "", f"{len(result['pairs'])} pairs of probe and fine-tuned network, datasets: {', '.join(counts)}."]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transfers", type=Path, required=True, metavar="DIR", help="the published tables")
    parser.add_argument(
        "--timm",
        type=Path,
        nargs=2,
        required=True,
        metavar="CSV",
        help="timm's results/results-imagenet.csv at e987e290 and at aa4b5850",
    )
    options = parser.parse_args()
    pairs = own(default_runs.load())
    tables = sfda(options.transfers), fastai_timm(options.transfers, *options.timm)
    sources = ("Shao et al. 2022, arXiv 2207.03036", "Capelle & Howard, github.com/tcapelle/fastai_timm")
    write_carried([(source, *pair) for source, pair in zip(sources, tables, strict=True)])
    result = {
        "published": published("Shao et al.", *tables[0]) + published("Capelle & Howard", *tables[1]),
        "transfer_weight": transfer_weight(tables),
        "pairs": pairs,
        "uplift": uplift(pairs),
        "random": random_losses([data for data in default_runs.load(variants=True) if not data.shots], fit(pairs)),
        "own": [predictor(pairs, used) for used in ([], ["top1"], ["probe"], ["probe", "top1"])],
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result), own_table(result), sep="\n\n")


if __name__ == "__main__":
    main()
