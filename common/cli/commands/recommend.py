"""recommend a backbone for your images, with its confidence and cost"""

import argparse
import json
import sys
from pathlib import Path

from ...errors import Parser, UserError
from ...files.atomic import check_new
from ...models import build, weights
from ...models.registry import BACKBONES
from ...run import provenance, results
from ...spec import Dataset, RunConfig
from .. import catalog
from ..main import report_user_errors
from ..options import seconds, size
from ..parse import check, choose, parse


def main(argv: list[str]) -> None:
    options = _parser().parse_args(argv)
    report_user_errors(lambda: _answer(options))


def _parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m common recommend",
        description="Rank backbones by a linear probe on their frozen features; the test images are not used.",
        allow_abbrev=False,
    )
    p.add_argument(
        "dataset",
        nargs="?",
        metavar="DATASET|FOLDER",
        help="one that `list` shows, or class folders (default: those in --data_dir)",
    )
    p.add_argument(
        "--data_dir", type=Path, metavar="DIR", help="where the images lie (default: data/DATASET)"
    )
    p.add_argument(
        "-model", "--model", nargs="+", metavar="NAME", help="backbones (default: the first table of `list`)"
    )
    p.add_argument(
        "--weights",
        choices=("imagenet", "none"),
        default="imagenet",
        help="none: random weights, to compare architectures only (default: %(default)s)",
    )
    p.add_argument(
        "--random_missing",
        action="store_true",
        help="use random weights, marked as such, where ImageNet's are missing, instead of skipping the backbone",
    )
    p.add_argument(
        "--image_size",
        type=size,
        metavar="S|HxW",
        help="pixels; a backbone that needs more gets more (default: the sheet's)",
    )
    p.add_argument(
        "--group_by", metavar="REGEX", help="keep images together whose CLASS/NAME has the same capture group"
    )
    p.add_argument("--shots", type=int, metavar="K", help="as if there were K training images per class")
    p.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="probe a stratified sample of about N images (--finetune takes all)",
    )
    p.add_argument(
        "--budget",
        type=seconds,
        metavar="10m",
        help="target time (s, m, h): weak backbones are dropped early, on fewer images",
    )
    p.add_argument(
        "--finetune",
        type=int,
        metavar="K",
        help="then fine-tune the first K and compare them on the test images",
    )
    p.add_argument("--subset", action="store_true", help="accept other counts than the sheet's")
    p.add_argument("--skip_bad", action="store_true", help="leave out images that cannot be read")
    p.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of folds, draws and random weights (default: 0)"
    )
    p.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    p.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto")
    p.add_argument("--offline", action="store_true", help="open no network connection")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the answer as JSON, new")
    return p


def _answer(options: argparse.Namespace) -> None:
    for name, least in (("limit", 1), ("finetune", 2)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    if options.out and not _unfinished(options.out):
        check_new(options.out, "--out")
    if not options.dataset and not options.data_dir:
        raise UserError("no data given: name a dataset, or pass --data_dir with a folder of class folders")
    if options.dataset and not options.data_dir and Path(options.dataset).is_dir():
        options.dataset, options.data_dir = None, Path(options.dataset)
    sheet = catalog.find(options.dataset or "folder")
    arguments = _arguments(sheet, options)
    runs, left_out = _runs(sheet, arguments, options)

    from tqdm import tqdm

    from ...recommend import finals, words
    from ...recommend.recommend import Question, recommend

    def tell(line: str) -> None:
        tqdm.write(line, file=sys.stderr)

    question = Question(runs, left_out, options.group_by, options.limit, options.budget)
    answer, material = recommend(question, tell)
    answer["advice"] = words.advice(answer)
    print(words.table(answer), flush=True)
    if options.finetune:
        answer["finals"] = None  # not yet
    else:
        print(answer["advice"])
    if options.out:
        results.write_json(options.out, answer)
    if options.finetune:
        first = [row["backbone"] for row in answer["backbones"][: options.finetune]]
        script = [str(catalog.ROOT / f"{sheet.script}.py"), *arguments]
        chosen = sorted((r for r in runs if r.model in first), key=lambda r: first.index(r.model))
        try:
            folder = finals.place(chosen, script, material)
            answer["finals"] = finals.play(chosen, script, folder, material, tell)
        except KeyboardInterrupt:
            tell("stopped; run the same command to continue")
            raise
        print(words.finals(answer["finals"]))
        if options.out:
            results.write_json(options.out, answer)


def _unfinished(out: Path) -> bool:
    """Whether the file is an answer of this very command that broke off while it fine-tuned."""
    try:
        told = json.loads(out.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return (
        isinstance(told, dict)
        and told.get("finals", ...) is None
        and told.get("command") == provenance.command()
    )


def _arguments(sheet: Dataset, options: argparse.Namespace) -> list[str]:
    """What the sheet's script is told for every backbone."""
    told = ["--device", options.device, "--precision", options.precision, "--seed", str(options.seed)]
    if options.data_dir:
        told += ["--data_dir", str(options.data_dir)]
    if options.shots is not None:
        told += ["--shots", str(options.shots)]
    if sheet.variant:
        told += [f"--{sheet.variant[0]}", sheet.variant[1]]
    return told + [f"--{name}" for name in ("subset", "skip_bad", "offline") if getattr(options, name)]


def _runs(
    sheet: Dataset, arguments: list[str], options: argparse.Namespace
) -> tuple[tuple[RunConfig, ...], dict[str, str]]:
    """A checked run per backbone; and those whose ImageNet weights are missing, with the reason."""
    runs: dict[str, RunConfig] = {}
    left_out: dict[str, str] = {}
    # the hub's own cache knows what it holds; what may be missing must be known before the data is read
    find = weights.fetch if options.offline or options.random_missing else weights.locate
    for name in options.model or [row.name for row in BACKBONES]:
        row, choice = build.get_backbone(name), options.weights
        try:
            find(row, choice, options.offline)
        except UserError as error:
            if not options.random_missing:
                left_out[row.name] = str(error)
                continue
            choice = "none"
        pixels = "x".join(map(str, row.fitting(options.image_size or sheet.image_size)))
        more = ["-model", row.name, "--weights", choice, "--image_size", pixels]
        asked = parse((sheet,), [*arguments, *more])
        runs[row.name] = check(choose((sheet,), asked), asked)
    if not runs:
        name, reason = next(iter(left_out.items()))
        raise UserError(
            f"no backbone's weights are available; --random_missing uses random ones. {name}: {reason}"
        )
    return tuple(runs.values()), left_out
