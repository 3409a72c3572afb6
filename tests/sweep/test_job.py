"""One run of a sweep: started, watched, and retried where that may help."""

import fcntl
import json
import threading
import time
from pathlib import Path

import pytest
from scripted import RESULT, cell, config, script, started

from common.sweep import job, state
from common.sweep.job import JobResult, run_job


def test_a_run_is_a_process_with_a_folder_and_a_log(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_job(cell(script(tmp_path)), config(tmp_path)) == JobResult("finished", "top-1 75.00 %")
    assert started(tmp_path) == [["--lr", "0.1", "--out", str(out / "run")]]
    assert run_job(cell(script(tmp_path)), config(tmp_path)).state == "finished"
    assert len(started(tmp_path)) == 1, "a finished run is not started again"


def test_a_killed_run_is_resumed_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run_job(cell(script(tmp_path, run=["kill:started", "finish"])), config(tmp_path))
    assert result.state == "finished" and result.retries == ("it was killed by SIGKILL",)
    assert started(tmp_path)[1] == ["--resume", str(out / "run")]


def test_a_second_death_is_a_failure_with_reason_and_command(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = cell(script(tmp_path, run=["kill:started"]))
    assert run_job(run, config(tmp_path)).state == "failed"
    assert len(started(tmp_path)) == 2
    failure = state.failures(out)["run"]
    assert "SIGKILL" in failure.reason and "tried again" in failure.reason
    assert failure.command.endswith(f"script.py --resume {out / 'run'}")
    assert Path(failure.log).exists()
    script(tmp_path, run=["finish"])
    assert run_job(run, config(tmp_path)).state == "finished"
    assert not state.failures(out)


def test_out_of_memory_halves_the_micro_batch(tmp_path: Path) -> None:
    run = cell(script(tmp_path, run=["say:out of memory at a batch of 32: try less", "finish"]))
    result = run_job(run, config(tmp_path))
    assert result.retries == ("running out of memory",)
    assert started(tmp_path)[1][-1] == "--micro_bs=16"


def test_the_micro_batch_divides_the_batch(tmp_path: Path) -> None:
    path = script(tmp_path, run=["say:out of memory at a batch of 9: try less", "finish"])
    run = cell(path, batch_size=9, micro_bs=9)
    assert run_job(run, config(tmp_path)).state == "finished"
    assert started(tmp_path)[1][-1] == "--micro_bs=3"


def test_a_nan_loss_is_retried_in_float32(tmp_path: Path) -> None:
    acts = ["say:started the loss is NaN or infinite before step 9: try", "finish"]
    assert run_job(cell(script(tmp_path, run=acts)), config(tmp_path)).retries == ("a NaN or infinite loss",)
    assert started(tmp_path)[1] == ["--resume", str(tmp_path / "out" / "run"), "--precision=fp32"]


@pytest.mark.parametrize(
    ("act", "reason"), [("say:no data there", "no data there"), ("traceback", "LookupError: a bug of ours")]
)
def test_lasting_errors_are_not_retried(tmp_path: Path, act: str, reason: str) -> None:
    assert run_job(cell(script(tmp_path, run=[act])), config(tmp_path)) == JobResult("failed", reason)
    assert len(started(tmp_path)) == 1


def test_a_stalled_run_is_retried(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(job, "POLL_SECONDS", 0.05)
    run = cell(script(tmp_path, run=["hang:started", "finish"]))
    assert run_job(run, config(tmp_path, stall=1.0)).retries == ("it stalled",)


def test_a_locked_run_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(job, "LOCK_POLL_SECONDS", 0.05)
    folder = tmp_path / "out" / "run"
    folder.mkdir(parents=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def finish() -> None:
            time.sleep(0.3)
            (folder / "result.json").write_text(json.dumps(RESULT))
            lock.close()

        threading.Thread(target=finish).start()
        assert run_job(cell(script(tmp_path)), config(tmp_path)).state == "finished"
    assert not (tmp_path / "run.jsonl").exists(), "nothing was started"


def test_a_terminated_run_is_resumed(tmp_path: Path) -> None:
    result = run_job(cell(script(tmp_path, run=["stopped:started", "finish"])), config(tmp_path))
    assert result.retries == ("it was killed by SIGTERM",)


def test_a_finished_run_is_not_a_failure(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = cell(script(tmp_path, run=["traceback"]))
    run_job(run, config(tmp_path))
    (out / "failed" / ".run.0a.part.json").write_text("")  # of a process killed while it wrote
    assert list(state.failures(out)) == ["run"]
    (out / "run").mkdir()
    (out / "run" / "result.json").write_text(json.dumps(RESULT))  # by hand
    assert not state.failures(out)


def test_stop_terminates_the_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(job, "POLL_SECONDS", 0.05)
    out = tmp_path / "out"
    run = cell(script(tmp_path, run=["hang:started"]))
    result = run_job(run, config(tmp_path), stop=lambda: int((out / "run" / "progress.json").exists()))
    assert result.state == "stopped" and not state.failures(out)


def test_a_late_run_is_not_started(tmp_path: Path) -> None:
    assert run_job(cell(script(tmp_path)), config(tmp_path, start_by={"run": time.time() - 1})).state == "late"
    assert not (tmp_path / "out").exists()
