"""Fine-tuning of the top backbones, interrupted and continued."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from folders import SMALL, TINY, class_folders, noise, write_test_predictions

from common.__main__ import main
from common.errors import UserError
from common.recommend import cost_model, finalists, finetuning
from common.sweep.process import Process


@pytest.fixture(autouse=True)
def _workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are not measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost_model, "step_times", lambda *_: {"step_seconds": 0.5})


COMMAND = ["recommend", "noise", "-model", *TINY[:2], *SMALL, "--finetune", "2", "--out", "a.json"]


def test_the_answer_survives_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise UserError("a run ended badly")

    monkeypatch.setattr(finalists, "run", fail)
    class_folders("noise", {"a": 20, "b": 20}, noise)
    with pytest.raises(SystemExit) as end:
        main(COMMAND)
    assert end.value.code == 2 and len(json.loads(Path("a.json").read_text())["backbones"]) == 2


def test_runs_on_other_images_are_not_compared() -> None:
    for folder, images in (("a", "xy"), ("b", "xz")):
        Path(folder).mkdir()
        write_test_predictions(Path(folder), [f"{image}.png" for image in images], ["cat", "dog"], np.zeros(2, bool))
    assert finetuning.predictions([Path("a"), Path("a")])[2].shape == (2, 2)
    with pytest.raises(UserError, match="b was tested on other images than a"):
        finetuning.predictions([Path("a"), Path("b")])


def test_interrupted_finals_are_continued(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """The same command continues its own answer and run folders; another one is refused. Runs are forked, which is faster.

    The runs are those of the data sheet's script, on the split of the answer, with groups kept together.
    """
    monkeypatch.setattr(finalists, "SEARCH", ("--lr", "1e-3", "--epochs", "1"))
    class_folders("noise", {"a": 20, "b": 20}, noise)
    command = [*COMMAND, "--group_by", r"_(\d)", "--shots", "8"]
    calls = []

    def fork(args: list[str], **_: object) -> subprocess.CompletedProcess:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt(signal.SIGTERM)
        log = Path(f"{len(calls)}.log")
        status = Process(args[1:], os.environ, log).wait(240)
        return subprocess.CompletedProcess(args, status, log.read_text())

    monkeypatch.setattr(finetuning, "subprocess", SimpleNamespace(run=fork, PIPE=subprocess.PIPE))
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 128 + signal.SIGTERM
    printed = capsys.readouterr().err
    assert "stopped; run the same command to continue" in printed and printed.count(" from scratch: ") == 1
    assert json.loads(Path("a.json").read_text())["finals"] is None
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(sys, "argv", ["another"])
        main(command)
    assert "a.json exists already" in capsys.readouterr().err

    main(command)
    printed = capsys.readouterr()
    assert "1 of 2: already fine-tuned" in printed.err and "fine-tuning" in printed.err
    assert printed.err.count(" from scratch: ") == 1 and "P(best)" in printed.out
    assert "test images, one seed each" in printed.out
    assert "fine-tuned" not in printed.out.split("Fine-tuned")[0]
    answer = json.loads(Path("a.json").read_text())
    finals = answer["finals"]
    assert sorted(finals["runs"]) == sorted(TINY[:2]) and finals["test_images"] == answer["held_out"]
    for name, folder in finals["runs"].items():
        result = json.loads(Path(folder, "result.json").read_text())
        assert result["backbone"] == name and result["split"]["fingerprint"] == answer["split"]
        (row,) = (row for row in finals["backbones"] if row["name"] == name)
        assert row["score"] == pytest.approx(result["test"]["top1"]["value"])
