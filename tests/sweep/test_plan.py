"""The plan of a sweep: what is run, and under which names."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT

from common.__main__ import main
from common.cli.grid import Grid, expand
from common.sweep.plan import make_cells

LITE = ["--models", "efficientnet_lite0", "--weights", "none"]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch, capsys) -> Callable[..., list[str]]:
    """Returns the names of the runs."""
    monkeypatch.chdir(tmp_path)

    def names(*options: object) -> list[str]:
        capsys.readouterr()
        main(["sweep", *map(str, options), "--plan"])
        *lines, _ = capsys.readouterr().out.splitlines()
        return [line.split()[0] for line in lines]

    return names


def test_the_name_identifies_the_result(class_tree, tmp_path: Path, plan) -> None:
    class_tree(n=20, base="data/folder")
    base = ["--datasets", "folder", *LITE]
    (name,) = plan(*base)
    assert plan(*base, "--out", "elsewhere", "--no_cache") == [name]
    assert plan(*base, "--epochs", 3) != [name]
    assert plan(*base, "--image_size", 64) != [name]
    (tmp_path / "data").rename("moved")
    assert plan(*base, "--data", "moved") == [name]
    (tmp_path / "moved/folder/ant/ant_3.jpg").unlink()
    assert plan(*base, "--data", "moved") != [name]
    more = [*base, "--data", "moved", "--seeds", 0, 1, 2, "--fraction", 0.5, 1.0]
    names = plan(*more)
    assert len(set(names)) == 6
    assert [name.split("-")[2] for name in names] == ["s0", "s0", "s1", "s1", "s2", "s2"]
    shards = [plan(*more, "--shard", f"{i}/4") for i in range(4)]
    assert sorted(name for shard in shards for name in shard) == sorted(names)


def test_slurm_tasks_run_the_shards(class_tree, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    class_tree(n=20, base="data/folder")
    options = ("--datasets", "folder", "--models", "paper", "--weights", "none", "--epochs", "3")
    main(["sweep", *options, "--slurm", "array.sh"])
    assert "11 runs -> array.sh" in capsys.readouterr().out
    text = Path("array.sh").read_text()
    assert "#SBATCH --array=0-10\n" in text
    subprocess.run(["bash", "-n", "array.sh"], check=True)
    task = text.replace("exec ", "exec env ").replace("--workers 1", "--plan --workers 1")
    env = {**os.environ, "SLURM_ARRAY_TASK_ID": "4", "PYTHONPATH": str(ROOT)}
    env["PYTHONPROFILEIMPORTTIME"] = "1"
    process = subprocess.run(["bash", "-c", task], capture_output=True, text=True, env=env, check=True)
    imported = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}
    assert "numpy" in imported and "torch" not in imported
    assert process.stdout.startswith("folder-swin_v2_t-s0-")
    assert "1 runs: 0 finished" in process.stdout


def test_every_magnification_is_passed_to_its_script(tmp_path: Path) -> None:
    """The default of a data sheet's own parser differs from the script's."""
    (tmp_path / "breakhis" / "x").mkdir(parents=True)
    grid = Grid(datasets=["breakhis"], models=["resnet50"], seeds=[0], train_sizes=[], data=tmp_path, options=[])
    runs, _ = expand(grid)
    magnifications = ["40x", "100x", "200x", "400x"]
    assert [run.args[run.args.index("--magnification") + 1] for run in runs] == magnifications
    assert all(run.args[run.args.index("--data_dir") + 1] == str(tmp_path / "breakhis") for run in runs)
    assert [run.config.dataset.name for run in runs] == [f"breakhis-{name}" for name in magnifications]


def test_all_leaves_out_combinations_that_cannot_run(class_tree, plan) -> None:
    class_tree(n=20, base="data/folder")
    class_tree(n=2, base="data/eurosat")
    names = plan("--datasets", "all", "--models", "efficientnet_lite0")
    assert [name.split("-")[0] for name in names] == ["digits", "folder"]


@pytest.mark.parametrize(
    ("options", "stated"),
    [
        (["efficientnet_lite0"], "search budget of every backbone: rate measured before"),
        (["efficientnet_lite0", "resnet50", "--lr", "auto"], "search budget of every backbone: rate searched"),
        (["efficientnet_lite0", "resnet50", "--lr", "0.01"], "search budget of every backbone: rate by hand"),
        (
            ["efficientnet_lite0", "resnet50", "swin_t"],
            "search budgets differ: rate measured before (efficientnet_lite0); rate searched (resnet50, swin_t); "
            "--lr auto searches for every backbone",
        ),
        (["resnet50", "--protocol", "probe"], ""),
    ],
)
def test_the_search_budget_is_stated(options: list[str], stated: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    main(["sweep", "--datasets", "digits", "--models", *options, "--plan"])
    assert capsys.readouterr().err.strip() == stated


def test_a_probe_passes_every_image_once(tmp_path: Path) -> None:
    grid = Grid(
        datasets=["digits"],
        models=["resnet50"],
        seeds=[0],
        train_sizes=[],
        data=tmp_path,
        options=["--protocol", "probe"],
    )
    cells, _ = make_cells(expand(grid)[0])
    assert [cell.image_passes for cell in cells] == [1_797]


def test_hardly_any_images_are_not_fine_tuned(class_tree, tmp_path: Path, monkeypatch, capsys) -> None:
    class_tree(("ant", "bee"), n=3, base="data/folder")
    monkeypatch.chdir(tmp_path)
    main(["sweep", "--datasets", "folder", "--models", "efficientnet_lite0", "resnet50", "--plan"])
    assert "search budget of every backbone: not fine-tuned" in capsys.readouterr().err


def test_too_many_shots_leave_the_other_runs(class_tree, plan) -> None:
    class_tree(n=20, base="data/folder")
    models = ("efficientnet_lite0", "efficientnet_lite1")
    names = plan("--datasets", "all", "--models", *models, "--weights", "none", "--shots", "5", "500")
    expected = [[dataset, model] for dataset in ("digits", "folder") for model in models]
    assert [name.split("-")[:2] for name in names] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--datasets", "digits", "--seeds", "-1"], "--seeds -1: expected 0 or more"),
        (["--datasets", "digits", "--slurm", "nowhere/x.sh"], "no folder nowhere for x.sh"),
        (["--datasets", "eurosta"], "no dataset 'eurosta': did you mean 'eurosat'?"),
        (["--datasets", "eurosat", *LITE], "no data in data/eurosat: python -m common fetch eurosat"),
        (["--datasets", "digits", "--models", "resnet5"], "unknown model 'resnet5'"),
        (["--datasets", "digits", *LITE, "--fold", "1"], "error: unrecognized arguments: --fold 1 (digits.py --help)"),
        (
            ["--datasets", "digits", "--budget", "1h", "--protocol", "scratch", "--models", "resnet18_cifar"],
            "drop --protocol",
        ),
        (["--datasets", "digits", "--slurm", "x.sh", "--plan"], "drop --plan and --shard"),
        (["--datasets", "digits", "--seed", "3"], "--seed is set by the sweep"),
        (["--datasets", "digits", "--workers", "0"], "--workers 0: expected 1 or more"),
        (["--datasets", "digits", "--models", "cifar"], "digits: none of the backbones can run: "),
        (["--datasets", "digits", *LITE, "--bench", "none.json"], "cannot read none.json"),
    ],
)
def test_user_errors(options: list[str], message: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["sweep", *options])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
