"""recommend a backbone for your images, with its confidence and cost"""

import argparse
import json
import sys
from pathlib import Path

from ...errors import Parser, UserError
from ...files.atomic import check_new
from ...models import build, names
from ...models.registry import BACKBONES
from ...recommend.candidates import Candidates, find
from ...run import provenance, results
from ...spec import Dataset, RunConfig
from .. import catalog
from ..arguments import (
    add_device,
    add_groups,
    add_image_filters,
    add_labels,
    add_offline,
    add_pixels,
    duration,
    image_sizes,
    label_arguments,
)
from ..main import report_user_errors
from ..parse import make_config, parse


def main(argv: list[str]) -> None:
    options = _parser().parse_args(argv)
    report_user_errors(lambda: _recommend(options))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m common recommend",
        description="Rank backbones by a linear probe on their frozen features; the test images are not used.",
        allow_abbrev=False,
    )
    _add_data(parser.add_argument_group("data"))
    _add_backbones(parser.add_argument_group("backbones"))
    _add_effort(parser.add_argument_group("effort"))
    machine = parser.add_argument_group("device and output")
    add_device(machine)
    add_offline(machine)
    machine.add_argument("--details", action="store_true", help="list the weights that are missing")
    machine.add_argument("--out", type=Path, metavar="FILE", help="write the answer to a new JSON file")
    return parser


# fmt: off
def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument("dataset", nargs="?", metavar="DATASET|FOLDER",
                       help="a dataset of `list`, or class folders (default: those in --data_dir)")
    group.add_argument("--data_dir", type=Path, metavar="DIR", help="data folder (default: data/DATASET)")
    add_labels(group)
    add_image_filters(group)
    add_pixels(group)
    add_groups(group, None, "auto for your folder, else the data sheet's groups")
    group.add_argument("--shots", type=int, metavar="K", help="simulate K training images per class")
    group.add_argument("--limit", type=int, metavar="N",
                       help="probe a stratified sample of about N images (--finetune takes all)")


def _add_backbones(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-model", "--model", nargs="+", metavar="NAME",
                       help="backbones (default: the first table of `list`)")
    group.add_argument("--weights", choices=("imagenet", "none"), default="imagenet",
                       help="none: random weights, to compare architectures only (default: %(default)s)")
    group.add_argument("--random_missing", action="store_true",
                       help="use random weights, marked as such, for backbones whose ImageNet weights are missing, instead of skipping them")
    group.add_argument("--image_size", type=image_sizes, metavar="S|HxW",
                       help="input size in pixels; with several, as in 64,128,224, backbones are ranked at the first, and the best one is probed at all; raised for backbones that need more (default: the data sheet's)")


def _add_effort(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--budget", type=duration, metavar="10m",
                       help="target time (s, m, h): weak backbones are dropped early, on fewer images")
    group.add_argument("--finetune", type=int, metavar="K",
                       help="then fine-tune the first K and compare them on the test images")
    group.add_argument("--seed", type=int, default=0, metavar="N",
                       help="of folds, samples and random weights (default: 0)")
# fmt: on


def _recommend(options: argparse.Namespace) -> None:
    for name, least in (("limit", 1), ("finetune", 2)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    if options.out and not _unfinished(options.out):
        check_new(options.out, "--out")
    if not options.dataset and not options.data_dir:
        raise UserError("no data: name a dataset, or pass a folder of class folders as --data_dir")
    if options.dataset and not options.data_dir and Path(options.dataset).exists():
        options.dataset, options.data_dir = None, Path(options.dataset)
    sheet = catalog.find(options.dataset or "folder")
    arguments = _arguments(sheet, options)
    candidates = _candidates(options)
    runs = _runs(sheet, arguments, candidates, options)

    from tqdm import tqdm

    from ...recommend import finalists, finetuned_order, more_images, sizes, text
    from ...recommend.recommend import RecommendConfig, recommend

    short = names.short_names(run.model for run in runs)

    def log(line: str) -> None:
        tqdm.write(names.shorten(line, short), file=sys.stderr)

    for line in text.candidate_lines(candidates, options.offline, options.random_missing, options.details):
        log(line)
    left_out = {} if options.random_missing else candidates.invalid | candidates.missing
    more_sizes = tuple((options.image_size or [])[1:])
    config = RecommendConfig(runs, left_out, options.limit, options.budget, more_sizes)
    answer, data = recommend(config, log)
    shown = text.rename(answer, short)
    answer["advice"] = text.format_advice(shown)
    print(text.format_table(shown), flush=True)
    if options.finetune:
        answer["finals"] = None  # pending
    else:
        print(answer["advice"])
    if len(shown["backbones"]) > 1:
        print(finetuned_order.format_prediction(shown["backbones"]))
    if shown["more_images"]:
        print(more_images.format_gain(shown["more_images"]), flush=True)
    if shown["sizes"]:
        print(sizes.format_sizes(shown["backbones"][0]["backbone"], shown["sizes"]), flush=True)
    if options.out:
        results.write_json(options.out, answer)
    if options.finetune:
        first = [row["backbone"] for row in answer["backbones"][: options.finetune]]
        script = [str(catalog.ROOT / f"{sheet.script}.py"), *arguments]
        chosen = sorted((r for r in runs if r.model in first), key=lambda r: first.index(r.model))
        try:
            answer["finals"] = finalists.run(chosen, script, data, log)
        except KeyboardInterrupt:
            log("stopped; run the same command to continue")
            raise
        print(text.format_finals(text.rename(answer["finals"], short)))
        if options.out:
            results.write_json(options.out, answer)


def _unfinished(out: Path) -> bool:
    """Whether the file is the answer of an interrupted `--finetune` of this same command."""
    try:
        answer = json.loads(out.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return (
        isinstance(answer, dict)
        and answer.get("finals", ...) is None
        and answer.get("command") == provenance.command()
    )


def _arguments(sheet: Dataset, options: argparse.Namespace) -> list[str]:
    """The arguments of the sheet's script, the same for all backbones."""
    arguments = ["--device", options.device, "--precision", options.precision, "--seed", str(options.seed)]
    if options.data_dir:
        arguments += ["--data_dir", str(options.data_dir)]
    if sheet.classes is None:
        arguments += label_arguments(options)
    elif given := label_arguments(options):
        raise UserError(f"{given[0]}: {sheet.title} has its own labels; drop it")
    if options.group_by is not None:
        arguments.append(f"--group_by={options.group_by}")
    if options.shots is not None:
        arguments += ["--shots", str(options.shots)]
    if sheet.variant:
        arguments += [f"--{sheet.variant[0]}", sheet.variant[1]]
    for name in ("value_range", "bands"):
        if values := getattr(options, name):
            arguments += [f"--{name}", *map(str, values)]
    return arguments + [f"--{name}" for name in ("subset", "skip_bad", "offline") if getattr(options, name)]


def _candidates(options: argparse.Namespace) -> Candidates:
    for name in options.model or ():
        build.check_name(name)
    rows = [build.get_backbone(name) for name in options.model] if options.model else None
    if options.weights == "none":
        return Candidates(usable=rows or list(BACKBONES))
    return find(rows, options.offline)


def _runs(
    sheet: Dataset, arguments: list[str], candidates: Candidates, options: argparse.Namespace
) -> tuple[RunConfig, ...]:
    """A config per backbone."""
    choices = {row.name: options.weights for row in candidates.usable}
    if options.random_missing:
        choices |= dict.fromkeys((*candidates.missing, *candidates.invalid), "none")
    if not choices:
        name, reason = next(iter((candidates.invalid | candidates.missing).items()))
        raise UserError(
            f"no backbone's weights are available; --random_missing uses random ones. {name}: {reason}"
        )
    size = options.image_size[0] if options.image_size else sheet.image_size
    runs = []
    for name, choice in choices.items():
        pixels = "x".join(map(str, build.get_backbone(name).supported_size(size)))
        more = ["-model", name, "--weights", choice, "--image_size", pixels]
        runs.append(make_config((sheet,), parse((sheet,), [*arguments, *more])))
    return tuple(runs)
