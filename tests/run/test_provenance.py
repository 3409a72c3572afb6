"""The hash of the code that determines a result."""

import shutil
from pathlib import Path

import pytest

from common.run import provenance


def test_the_hash_covers_what_determines_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = shutil.copytree(provenance.COMMON, tmp_path / "common", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "COMMON", common)

    def changes_the_hash(file: str) -> bool:
        before = provenance.shared_code.__wrapped__().digest()
        with open(common / file, "a", encoding="utf-8") as source:
            source.write("# changed\n")
        return provenance.shared_code.__wrapped__().digest() != before

    names = ("run/augment.py", "run/head_start.py", "run/search.py", "training/recipes.py", "spec.py")
    assert all(map(changes_the_hash, names))
    assert not changes_the_hash("run/plots.py")
