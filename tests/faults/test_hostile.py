"""Malicious and malformed checkpoints: their code does not run, and a user error names them."""

import io
import os
import pickle
from pathlib import Path

import pytest
import torch

from common.errors import UserError
from common.training import checkpoint


class Payload:
    def __reduce__(self) -> tuple:
        return os.system, ("touch pwned",)


BAD = {
    "a pickle that runs": lambda: pickle.dumps(Payload()),
    "an archive with a pickle that runs": lambda: saved({"form": 1, "progress": Payload()}),
    "a list": lambda: saved([1, 2]),
    "no progress": lambda: saved({"form": 1}),
    "progress of another kind": lambda: saved({"form": 1, "progress": {"step": 4, "other": 1}}),
    "no network": lambda: saved({"form": 1, "progress": {"step": 4}}),
    "a step that is a string": lambda: saved({"form": 1, "progress": {"step": "4"}}),
}  # fmt: skip


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", BAD)
def test_bad_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / checkpoint.FOLDER / checkpoint.LAST
    path.parent.mkdir()
    path.write_bytes(BAD[kind]())
    with pytest.raises(UserError, match=r"cannot resume from .*last\.pt"):
        checkpoint.load(tmp_path)
    assert os.listdir(tmp_path) == [checkpoint.FOLDER]
