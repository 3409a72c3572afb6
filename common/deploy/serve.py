"""The cost of serving a finished run's network on the CPU: latency, throughput, file size, accuracy in int8."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.augment.augment import eval_transform
from ..data.dataset import LoadedDataset
from ..run import provenance, results
from ..statistics.paired import mcnemar, paired_bootstrap
from . import export
from .load import load_model

BATCH = 32  # images, for the throughput
SECONDS, MIN_CALLS, WARM_UP = 3.0, 20, 3  # of one measurement
N_CALIBRATION, N_TEST = 128, 2000  # images at most

Network = Callable[[np.ndarray], np.ndarray]  # (B, 3, H, W) float32 in 0..1 -> logits


def measure(run_folder: Path, dataset: LoadedDataset | None) -> dict[str, Any]:
    """Every engine at one and at all threads of this machine; without a `dataset` not in int8.

    Returns: "engines", a list of {"engine", "threads", "p50_ms" and "p95_ms" of one image, "images_per_second" in batches
    of 32, "file_bytes"}; "int8", see `_compare`, or None; the machine and the versions.

    Raises:
        UserError: no finished run, or a missing package.
    """
    card = results.read_model_card(run_folder / results.BEST)
    export.check_onnx_packages()
    card["preprocess"] = replace(card["preprocess"], value_range=None)  # pixels in 0..1
    model = load_model(run_folder, card)
    net = export.with_normalisation(model.net, card["preprocess"]).to(memory_format=torch.channels_last)
    image = np.random.default_rng(0).random((BATCH, 3, *card["preprocess"].size), np.float32)
    compared = None
    with tempfile.TemporaryDirectory() as folder:
        files = {"ONNX Runtime": Path(folder, "model.onnx")}
        export.write_verified(model.net, card, "onnx", files["ONNX Runtime"])
        if dataset:
            from .quantize import quantize

            files["ONNX Runtime int8"] = Path(folder, "int8.onnx")
            quantize(*files.values(), _images(dataset, _sample(dataset.split.train, N_CALIBRATION)))
            compared = _compare(*map(_onnx_network, files.values()), dataset)
        threads = sorted({1, os.cpu_count()})
        engines = [_measure_torch(net, image, n, run_folder / results.BEST) for n in threads]
        engines += [_measure_onnx(name, file, image, n) for name, file in files.items() for n in threads]
    environment = provenance.collect(torch.device("cpu"), "fp32")
    for name in ("command", "threads", "precision"):
        del environment[name]
    return {
        "backbone": card["backbone"],
        "size": card["preprocess"].size,
        "engines": engines,
        "int8": compared,
        "batch_size": BATCH,
        **environment,
        "onnxruntime": version("onnxruntime"),
    }


def _measure_torch(net: torch.nn.Module, images: np.ndarray, threads: int, file: Path) -> dict[str, Any]:
    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)).numpy()

    with _torch_threads(threads):
        return _measure("PyTorch", run, images, threads, file)


def _measure_onnx(name: str, file: Path, images: np.ndarray, threads: int) -> dict[str, Any]:
    return _measure(name, _onnx_network(file, threads), images, threads, file)


def _measure(name: str, run: Network, images: np.ndarray, threads: int, file: Path) -> dict[str, Any]:
    p50, p95 = np.quantile(_seconds(run, images[:1]), (0.5, 0.95)).tolist()
    return {
        "engine": name,
        "threads": threads,
        "p50_ms": 1e3 * p50,
        "p95_ms": 1e3 * p95,
        "images_per_second": len(images) / statistics.median(_seconds(run, images)),
        "file_bytes": file.stat().st_size,
    }


def _seconds(run: Network, batch: np.ndarray) -> list[float]:
    """The duration of every call."""
    for _ in range(WARM_UP):
        run(batch)
    durations: list[float] = []
    while len(durations) < MIN_CALLS or sum(durations) < SECONDS:
        started = time.perf_counter()
        run(batch)
        durations.append(time.perf_counter() - started)
    return durations


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _onnx_network(file: Path, threads: int = 0) -> Network:
    """`threads`: 0 for ONNX Runtime's default."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images})[0]


def _compare(float_network: Network, int8_network: Network, dataset: LoadedDataset) -> dict[str, Any]:
    """Both networks on the same test images: top-1 of each, int8's less float's with its 95 % interval, McNemar's p."""
    positions = _sample(dataset.split.test, N_TEST)
    labels = np.asarray([dataset.samples.labels[i] for i in positions])
    predicted = [[], []]
    for start in range(0, len(positions), BATCH):
        images = _images(dataset, positions[start : start + BATCH])
        for network, classes in zip((float_network, int8_network), predicted, strict=True):
            classes.append(network(images).argmax(1))
    correct, int8_correct = (np.concatenate(classes) == labels for classes in predicted)
    difference = paired_bootstrap(int8_correct, correct)
    return {
        "n": len(labels),
        "calibration_images": min(N_CALIBRATION, len(dataset.split.train)),
        "top1": float(correct.mean()),
        "int8_top1": float(int8_correct.mean()),
        "difference": difference.difference,
        "interval": [difference.low, difference.high],
        "p": mcnemar(int8_correct, correct),
    }


def _sample(positions: tuple[int, ...], n: int) -> np.ndarray:
    """`n` random positions, or all if there are fewer."""
    return np.random.default_rng(0).permutation(positions)[:n]


def _images(dataset: LoadedDataset, positions: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) float32 in 0..1 of the samples at `positions`."""
    pixels = torch.from_numpy(dataset.pixels[dataset.indices[positions]]).permute(0, 3, 1, 2).float()
    return eval_transform(pixels, dataset.preprocess).div(255).numpy()
