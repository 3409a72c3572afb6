"""The rules of the house: imports go one way, options are frozen, sheets are sheets, the light path is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from common import catalog
from common.options import parser
from common.spec import Dataset

ROOT = Path(__file__).resolve().parent.parent
COMMON = ROOT / "common"

# left may not see right; names in one tuple do not see each other
ORDER = [
    ("errors",), ("spec", "atomic"), ("data", "models", "measure"), ("training",), ("pictures", "provenance", "results", "kept"), ("config", "outcome"), ("rates",), ("run", "probing", "predict", "bench", "export"), ("answers",),
    ("options", "options_file"), ("asked",), ("cli",), ("catalog",), ("runs",), ("commands",), ("__main__",),
]  # fmt: skip
ROOMS = {
    "data": [
        "download", "unpack", "fetch", "sources.files", "sources.folders", "sources.leaves", "sources.lists", "sources.mat",
        "sources.arrays", "sources.hdf5", "sources.medical", "sources.parts", "sources", "splits", "split_file", "export", "dicom", "decode", "cache",
        "duplicates", "looks", "check", "travel", "trivial", "augment", "loaders", "prepare",
    ],
    "models": [
        "table", "modern", "backbones", "weights", "wavemix", "cifar.parts", "cifar.vgg", "cifar.resnet", "cifar.preact_resnet",
        "cifar.resnext", "cifar.se_resnet", "cifar.cbam_resnet", "cifar.mobilenet", "cifar.shufflenet", "cifar.vit", "cifar",
    ],
    "training": [
        "recipes", "device", "kernels", "tune", "features", "evaluate", "checkpoint", "pulse", "optimizer", "stop", "finetune", "search",
    ],
    "measure": ["metrics", "calibration", "cost", "energy", "stats", "compare", "ranks", "probe", "transfer"],
    "answers": [
        "scratch", "report.read", "report.sections", "report.tables", "report.predictions", "report.verdicts",
        "report.costs", "report.answer", "report.extras", "report.svg", "report.charts", "report.details",
        "report.chapters", "report.page", "report.report", "recommend.words", "recommend.ranking",
        "recommend.material", "recommend.price", "recommend.recommend", "recommend.finals", "recommend.validate",
        "sweep.plan", "sweep.prices", "sweep.ledger", "sweep.value", "sweep.view", "sweep.attempt", "sweep.workers", "sweep.rayed", "sweep.slurm",
        "sweep.sweep",
    ],
    "commands": [
        "list", "fetch", "check", "predict", "export", "bench", "table", "report", "recommend", "validate_recommend", "sweep", "status",
    ],
}  # fmt: skip
# `build` loads the weights that `weights` has read for it; `_run` starts what the command line asked for
ALLOWED_BACK = {
    ("models.backbones", "models.weights"),
    ("models.backbones", "models.wavemix"),
    ("models.backbones", "models.cifar"),
    ("cli", "run"),
}


def modules() -> dict[str, Path]:
    found = {".".join(p.relative_to(COMMON).with_suffix("").parts): p for p in COMMON.rglob("*.py")}
    return {name: path for name, path in found.items() if not name.endswith("__init__")}


def rank(module: str) -> int:
    return next(i for i, names in enumerate(ORDER) if module.split(".")[0] in names)


def imported(path: Path, name: str) -> set[str]:
    """Our own modules that a module imports, wherever in it."""
    package = ("common." + name).split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(
                (package[: len(package) - node.level + 1] + (node.module or "").split("."))[1:]
            ).strip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".strip(".")
                is_ours = full in modules() or (COMMON / full.replace(".", "/")).is_dir()
                found.add(full if is_ours else base)
    return found


def test_every_module_has_its_place() -> None:
    for name in modules():
        room, _, rest = name.partition(".")
        assert not rest or rest in ROOMS[room], f"{name} stands in no room"
        rank(name)


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_go_one_way(name: str) -> None:
    for other in imported(modules()[name], name):
        if (name, other) in ALLOWED_BACK:
            continue
        room, other_room = name.split(".")[0], other.split(".")[0]
        if room == other_room and room in ROOMS:
            places = [ROOMS[room].index(module.partition(".")[2]) for module in (other, name)]
            assert places[0] < places[1], f"{name} -> {other}"
        else:
            assert rank(other) < rank(name), f"{name} sees {other}"


def test_the_engine_never_sees_test() -> None:
    words = (COMMON / "training" / "finetune.py").read_text("utf-8").split('"""', 2)[2]
    assert "test" not in words.replace("latest", "")


def test_a_sheet_imports_only_what_common_offers() -> None:
    for sheet in catalog.datasets():
        tree = ast.parse((ROOT / f"{sheet.script}.py").read_text("utf-8"))
        sources = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert sources == {"common"}, sheet.name
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.Import)]


def test_split_is_a_thin_script() -> None:
    tree = ast.parse((ROOT / "split.py").read_text("utf-8"))
    sources = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert sources <= {"common", "pathlib"}


def test_sheets_are_found() -> None:
    assert [sheet.name for sheet in catalog.datasets()] == [
        "breakhis-40x", "breakhis-100x", "breakhis-200x", "breakhis-400x", "cifar10", "cifar100", "cub200", "digits",
        "dtd", "eurosat", "flowers102", "folder", "food101", "galaxy10", "plantclef", "plantvillage",
        "rsna_pneumonia", "stanford_cars", "stanford_dogs", "tinyimagenet", "ucmerced",
    ]  # fmt: skip


def test_a_sheet_is_short_and_tells_its_caveats() -> None:
    for sheet in catalog.datasets():
        told = (*sheet.caveats, *([sheet.paper.note] if sheet.paper else []))
        assert len((ROOT / f"{sheet.script}.py").read_text("utf-8").splitlines()) <= 70, sheet.name
        assert all(len(caveat) <= 110 and caveat.endswith(".") for caveat in told), sheet.name
        assert "\n" not in sheet.get and sheet.image_size, sheet.name


def test_options_are_frozen() -> None:
    """A new option is a promise: change this list on purpose."""
    sheets: dict[str, list[Dataset]] = {}
    for sheet in catalog.datasets():
        sheets.setdefault(sheet.script, []).append(sheet)
    options = {
        script: {action.option_strings[-1] for action in parser(*variants)._actions}
        for script, variants in sheets.items()
    }
    common = {
        "--help", "--model", "--weights", "--image_size", "--data_dir", "--download", "--subset", "--skip_bad", "--no_cache", "--batch_size", "--micro_bs",
        "--epochs", "--lr", "--seed", "--device", "--precision", "--offline", "--out",
        "--shots", "--fraction", "--split_file", "--augment", "--compile", "--tune", "--protocol", "--steps", "--optimizer", "--weight_decay",
        "--eval_every", "--save_every", "--resume", "--config", "--class_weights", "--balanced_sampling",
    }  # fmt: skip
    papers = ("breakhis", "dtd", "flowers102", "galaxy10", "plantvillage", "rsna_pneumonia")
    more = {script: {"--split"} for script in papers}
    more["breakhis"] |= {"--magnification", "--fold"}
    more["dtd"] |= {"--fold"}
    less = {"digits": {"--data_dir", "--download"}, "folder": {"--download"}}
    assert options == {
        script: (common | more.get(script, set())) - less.get(script, set()) for script in sheets
    }


@pytest.mark.parametrize(
    "command",
    [["eurosat.py", "--help"], ["split.py", "--help"], ["-m", "common", "list"], ["-m", "common", "--help"]],
)
def test_the_light_path_loads_no_torch(command: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {line.rsplit("|", 1)[1].strip() for line in run.stderr.splitlines() if "|" in line}
    assert not loaded & {"torch", "numpy", "PIL", "sklearn", "scipy", "matplotlib", "timm", "h5py", "pydicom"}
    assert run.stdout


def test_files_stay_short() -> None:
    long = {
        name: n for name, path in modules().items() if (n := len(path.read_text("utf-8").splitlines())) > 260
    }
    assert not long, "one duty per file: is this two?"
