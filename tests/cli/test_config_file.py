"""Config files: paths are expanded, and a run's options come back from its own file."""

from pathlib import Path

import pytest

import folder
from common.cli.config_file import read_argv, to_argv, to_dict
from common.cli.options import build_parser


def test_paths_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("SCRATCH", "/scratch/ada")
    file = tmp_path / "my.yaml"
    file.write_text(
        "data_dir: ~/images\nweights: $SCRATCH/best.pth\nsplit_file: /data/${SCRATCH}x/$UNSET.csv\nlr: 1e-3\n"
    )
    options = build_parser(folder.DATASET).parse_args(read_argv(file, build_parser(folder.DATASET)))
    assert options.data_dir == Path("/home/ada/images") and options.weights == "/scratch/ada/best.pth"
    assert options.split_file == Path("/data//scratch/adax/$UNSET.csv") and options.lr == 1e-3


@pytest.mark.parametrize("suffix", ["yaml", "toml"])
def test_options_come_back(tmp_path: Path, suffix: str) -> None:
    parser = build_parser(folder.DATASET)
    argv = "--data_dir /images --weights none --image_size 32x48 --steps 7 --subset --lr auto".split()
    options = parser.parse_args(argv)
    lines = to_dict(options, parser).items()
    separator = " = " if suffix == "toml" else ": "
    text = {True: "true"}
    file = tmp_path / f"options.{suffix}"
    file.write_text("".join(f"{k}{separator}{text.get(v, repr(v))}\n" for k, v in lines))
    assert parser.parse_args(read_argv(file, parser)) == options
    assert parser.parse_args(to_argv(options, parser)) == options
