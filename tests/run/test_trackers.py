"""--track: settings, evaluations and test scores go to a tracker, which never ends a run."""

import json
from pathlib import Path

import pytest
import yaml
from accelerate import tracking as accelerate_tracking
from tiny import TINY

import folder
from common import main
from common.run import trackers

RECORDS = [{"step": 5, "val_top1": 0.5}, {"step": 10, "val_top1": 0.75}]


class Recorder:
    """Accelerate's interface of a tracker; fails at every step in `broken`."""

    def __init__(self, *_: object, broken: tuple[int, ...] = (), **options: object) -> None:
        self.options, self.broken, self.calls = options, broken, []

    def start(self) -> None:
        self.calls.append("start")

    def store_init_configuration(self, values: dict) -> None:
        self.calls.append(values)

    def log(self, values: dict, step: int) -> None:
        if step in self.broken:
            raise ConnectionError("no\nserver")
        self.calls.append((step, values))

    def finish(self) -> None:
        self.calls.append("finish")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    (tmp_path / "result.json").write_text(json.dumps({"test": {"top1": {"value": 0.7, "interval": None}}}))
    return tmp_path


def test_what_a_tracker_gets(finished: Path, monkeypatch) -> None:
    """A resumed run sends the evaluations before it, too."""
    client = Recorder()
    monkeypatch.setattr(accelerate_tracking, "MLflowTracker", lambda *_, **options: client)
    with trackers.tracking("mlflow", finished, {"seed": 3, "recipe": {"lr": 0.1}, "shots": None}, RECORDS[:1]) as log:
        log(RECORDS[1])
    assert client.calls == [
        "start",
        {"seed": 3, "recipe.lr": 0.1},
        (5, {"step": 5, "val/top1": 0.5}),
        (10, {"step": 10, "val/top1": 0.75}),
        (10, {"test/top1": 0.7}),
        "finish",
    ]


def test_a_tracker_that_fails_is_left_out(finished: Path, monkeypatch, capsys) -> None:
    client = Recorder(broken=(5,))
    monkeypatch.setattr(accelerate_tracking, "WandBTracker", lambda *_, **options: client)
    with trackers.tracking("wandb", finished, {}, RECORDS) as log:
        log({"step": 15, "val_top1": 1.0})
    assert capsys.readouterr().err == "wandb failed, the run continues without it: no\n"
    assert client.calls == ["start", {}]


def test_tensorboard_gets_the_hyperparameters(tmp_path: Path, monkeypatch, class_tree, quick_intervals) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    options = [*TINY, "--epochs", "1", "--seed", "3", "--data_dir", str(class_tree()), "--track", "tensorboard"]
    main(folder.DATASET, [*options, "--out", "out"])
    (hyperparameters,) = Path("out").rglob("hparams.yml")
    assert yaml.safe_load(hyperparameters.read_text())["seed"] == 3
    events = EventAccumulator("out").Reload()
    result = json.loads(Path("out/result.json").read_text())
    assert events.Scalars("test/top1")[-1].value == pytest.approx(result["test"]["top1"]["value"])
    assert len(events.Scalars("val/top1")) == 1, "written once"
    assert "track" not in json.dumps(json.loads(Path("out/config.json").read_text()) | {"command": ""})


def test_a_missing_package(tmp_path: Path, monkeypatch, class_tree, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(folder.DATASET, [*TINY, "--data_dir", str(class_tree()), "--track", "mlflow", "--out", "out"])
    assert stop.value.code == 2 and not Path("out").exists()
    assert capsys.readouterr().err == "error: --track mlflow needs its package: pip install mlflow\n"


def test_a_tracker_that_does_not_start(tmp_path: Path, monkeypatch, class_tree, capsys) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("not logged in\nsee ...")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(accelerate_tracking, "WandBTracker", fail)
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    with pytest.raises(SystemExit) as stop:
        main(folder.DATASET, [*TINY, "--data_dir", str(class_tree()), "--track", "wandb", "--out", "out"])
    assert stop.value.code == 2 and not Path("out").exists()
    assert "error: --track wandb does not start (not logged in): fix that, or drop --track" in capsys.readouterr().err


def test_mlflows_file_store(tmp_path: Path, monkeypatch, finished: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(None)
    with trackers.tracking("mlflow", finished, {"seed": 3}, RECORDS):
        pass
    (run,) = mlflow.search_runs(experiment_names=[trackers.PROJECT], output_format="list")
    assert run.data.params == {"seed": "3"} and run.data.metrics["test/top1"] == 0.7
    assert run.info.run_name == finished.name and run.info.status == "FINISHED"
