"""Arbitrary texts, lists, tables and headers of weights: they are read, or refused with a user error."""

import copy
import io
import json
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import miniatures
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common.cli import config_file
from common.cli.arguments import image_size, learning_rate
from common.cli.options import build_parser
from common.data.download.download import MirrorError, _content_range
from common.data.splits import split_file
from common.errors import UserError
from common.models.state_dict import load_state_dict
from common.report.runs import parse_result
from common.spec import Samples

EXAMPLES = os.environ.get("CLASH_EXAMPLES")  # of each test, random ones
FUZZ = settings(
    max_examples=int(EXAMPLES or 40), derandomize=not EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck)
)
SAMPLES = Samples(images=["a", "b"], names=["x/a.jpg", "y/b.jpg"], labels=[0, 1], classes=("x", "y"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def only_user_errors(work: Callable[[], object]) -> object:
    """The result; None: it was refused."""
    try:
        return work()
    except UserError:
        return None


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """Truncated, with a piece replaced, or random bytes."""
    position = st.integers(0, len(content))
    piece = st.binary(max_size=12) | st.sampled_from([b"\x00", b"\xff\xfe", b"\r\n", b'"', b",,", b"-1", b"9" * 30])
    return st.one_of(
        st.binary(max_size=200),
        position.map(lambda at: content[:at]),
        st.tuples(position, position, piece).map(lambda cut: content[: min(cut[:2])] + cut[2] + content[max(cut[:2]) :]),
        st.tuples(position, piece).map(lambda put: content[: put[0]] + put[1] + content[put[0] + len(put[1]) :]),
    )  # fmt: skip


def mutated_file(file: tuple[Path, bytes]) -> st.SearchStrategy[tuple[Path, bytes]]:
    return st.tuples(st.just(file[0]), mutated(file[1]))


# options


@pytest.mark.parametrize("suffix", ["yaml", "toml"])
@FUZZ
@given(data=st.data())
def test_options_file(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    import folder

    content = {"yaml": b"epochs: 3\nlr: 1e-3\nsubset: true\nimage_size: 32x32\n", "toml": b'epochs = 3\nlr = "auto"\n'}
    path = tmp_path / f"options.{suffix}"
    path.write_bytes(data.draw(mutated(content[suffix])))
    args = only_user_errors(lambda: config_file.read_argv(path, build_parser(folder.DATASET)))
    assert args is None or all(arg.startswith("-") for arg in args)


@FUZZ
@given(st.dictionaries(st.sampled_from(["lr", "epochs", "subset", "data_dir", "fold", "x"]), JSON))
def test_options_of_any_kind(tmp_path: Path, options: dict) -> None:
    import folder

    path = tmp_path / "options.yaml"
    path.write_text(json.dumps(options))
    only_user_errors(lambda: config_file.read_argv(path, build_parser(folder.DATASET)))


@FUZZ
@given(st.text(max_size=12) | st.from_regex(r"[0-9x.e+-]{1,9}"))
@example("nan")
@example("²x3")
@example("1_0")
def test_a_rate_and_a_size(text: str) -> None:
    import argparse

    for read in (learning_rate, image_size):
        try:
            found = read(text)
        except argparse.ArgumentTypeError as error:
            assert text in str(error) or repr(text) in str(error)
        else:
            assert found == "auto" or (0 < found < 100 if read is learning_rate else min(found) > 0)


# responses of a server


@FUZZ
@given(st.sampled_from([200, 206]), st.text(max_size=6), st.text(max_size=6) | st.from_regex(r"bytes \d+-\d+/(\d+|\*)"))
@example(200, "²", "")
def test_lengths_and_ranges(status: int, length: str, extent: str) -> None:
    answer = SimpleNamespace(status=status, headers={"Content-Length": length, "Content-Range": extent})
    with suppress(MirrorError):
        at, total = _content_range(answer, 5)
        assert at in (0, 5) and (total is None or total >= 0)


# lists and tables


@FUZZ
@given(mutated(b"path,label,part\nx/a.jpg,x,train\ny/b.jpg,y,test\n"))
def test_split_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(content)
    found = only_user_errors(lambda: split_file.apply(path, SAMPLES))
    assert found is None or set(found.parts) <= {"", "train", "val", "test"}


# no .mat files: each is read by a process of its own, which takes too long for a thousand examples
LISTS = {
    "cub200": ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"),
    "tinyimagenet": ("wnids.txt", "words.txt", "val_annotations.txt"),
    "food101": ("train.json",),
    "dtd": ("train1.txt",),
    "plantvillage_leaves": ("leaf-map.json",),
    "rsna_pneumonia": ("stage_2_train_labels.csv",),
    "cifar100": ("meta", "train"),
    "galaxy10": ("Galaxy10_DECals.h5",),
}


class Layout:
    """A miniature, its reader, and the intact content of its lists."""

    def __init__(self, name: str, root: Path):
        getattr(miniatures, name)(root)
        self.root, self.sheet = root, import_module(name.partition("_leaves")[0]).DATASET
        self.lists = {path: path.read_bytes() for path in (next(root.rglob(file)) for file in LISTS[name])}


@pytest.fixture(scope="module", params=LISTS)
def layout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return Layout(request.param, tmp_path_factory.mktemp(request.param))


@FUZZ
@given(data=st.data())
def test_lists_of_images(layout: Layout, data: st.DataObject) -> None:
    path, content = data.draw(st.sampled_from(sorted(layout.lists.items())).flatmap(mutated_file), "a list")
    path.write_bytes(content)
    try:
        found = only_user_errors(lambda: layout.sheet.load(layout.root, layout.sheet.classes))
        assert found is None or len(found.images) == len(found.names) == len(found.labels)
    finally:
        path.write_bytes(layout.lists[path])


# headers of weights, and results


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A state dict in each form."""
    import torch
    from safetensors.torch import save

    state = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(2, dtype=torch.bfloat16)}
    buffer, old = io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": state}, buffer)
    torch.save(state, old, _use_new_zipfile_serialization=False)
    return {"a.safetensors": save(state, {"about": "{}"}), "a.pth": buffer.getvalue(), "old.pth": old.getvalue()}


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "old.pth"])
@FUZZ
@given(data=st.data())
def test_weights(tmp_path: Path, saved: dict[str, bytes], name: str, data: st.DataObject) -> None:
    import torch

    path = tmp_path / name
    path.write_bytes(data.draw(mutated(saved[name])))
    found = only_user_errors(lambda: load_state_dict(path))
    assert found is None or all(isinstance(value, torch.Tensor) for value in found.values())


@FUZZ
@given(header=JSON | st.binary(max_size=40), length=st.none() | st.integers(0, 2**64 - 1))
def test_a_header_of_weights(tmp_path: Path, header: object, length: int | None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + bytes(8))
    only_user_errors(lambda: load_state_dict(path))


RESULT = json.loads((ROOT / "results" / "runs.jsonl").read_text().splitlines()[-1])
KEYS = [
    (*outer, key) for outer, inner in [((), RESULT), *(((k,), v) for k, v in RESULT.items() if isinstance(v, dict))]
    for key in inner
]  # fmt: skip


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(KEYS), JSON), min_size=1, max_size=3))
def test_a_result(changes: list) -> None:
    """Only what `parse_result` documents, and `read` catches."""
    result = copy.deepcopy(RESULT)
    for (*outer, key), value in changes:
        inner = result[outer[0]] if outer else result
        if isinstance(inner, dict):
            inner[key] = value
    with suppress(LookupError, TypeError, AttributeError, ValueError, ArithmeticError):
        parse_result(result, Path("run"))
