"""Images per second of four training loops, interleaved: ours, the seed's, torchvision's, timm's.

    python benchmarks/compare_loops.py                                  # two CPU cores, one to two hours
    python benchmarks/compare_loops.py -bs 64 --images 4096 --steps 48  # a GPU; an epoch outlasts the queues

The same JPEG files, backbones with random weights (speed does not depend on them), batch size and machine for all.
Measured for each loop: the seconds of its first epoch, starting from the files (including decoding or the start of
workers), and the images per second after it, with running workers and full queues. Evaluation and checkpoints are
left out everywhere.

The peers are re-implemented from their published scripts, each at the fastest setting that it documents, with one
worker per core (the seed: its two). Workers persist from epoch to epoch, which only timm offers. WaveMix is ours in
all four. Nothing is compiled, although timm's --torchcompile could: it takes minutes for each backbone.

--augment crop_flip: random crops and flips, the minimum that each documents, as in our data sheets.
--augment recipe: adds the augmentations of torchvision's and timm's recipes; the seed's and ours do not change.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import timm.loss
import timm.optim
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from timm.data import ImageDataset, create_loader
from timm.data.loader import MultiEpochsDataLoader
from torch import Tensor, nn
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.data.images import cache
from common.data.loader import Batches, pixels_to_device
from common.models import build
from common.models.registry import BACKBONES, Backbone
from common.run import provenance
from common.run.results import write_json
from common.spec import Augment
from common.training import recipes
from common.training.cpu_kernels import move_to
from common.training.device import make_accelerator
from common.training.finetune import finetune
from common.training.task import Task

CLASSES = 8
# The paper's eleven and EfficientNet-Lite0; Inception is in its code, not in its table
MODELS = [row.name for row in BACKBONES if row.name not in ("resnet50_v1", "inception_v3")]


@dataclass(frozen=True, kw_only=True)
class Job:
    row: Backbone
    folder: Path  # class folders of JPEGs
    size: int  # pixels per side
    batch: int
    epoch_steps: int
    steps: int  # timed ones
    recipe: bool  # augmentation as in the peers' recipes
    workers: int
    device: torch.device
    dtype: torch.dtype  # that our loop computes in on this device

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"


def our_accelerator(row: Backbone) -> Accelerator:
    AcceleratorState._reset_state(reset_partial_state=True)  # another precision than the row before
    return make_accelerator("auto", "auto", row.cpu_bf16)


def ours(net: nn.Module, job: Job) -> tuple[float, float]:
    """Seconds of the first epoch and images per second of the later ones; all that touches our own interface.

    As a run does it: --precision auto, channels last, the recipe `clean`; the cache is empty at first.
    """
    start = now(job.device)
    ends, rates = [], []

    def log(record: dict) -> None:
        ends.append(now(job.device))
        rates.append(record["train_images_per_second"])

    paths, labels = zip(*ImageFolder(job.folder).samples, strict=True)
    preprocess = job.row.preprocess((job.size, job.size))
    with tempfile.TemporaryDirectory() as empty:
        os.environ[cache.CACHE_VARIABLE] = empty
        pixels, _ = cache.decode_cached(list(paths), preprocess, None)
        accelerator = our_accelerator(job.row)
        train = Batches(
            pixels=pixels_to_device(pixels, accelerator.device), indices=np.arange(len(labels)), labels=np.array(labels),
            preprocess=preprocess, batch_size=job.batch, device=accelerator.device,
        )  # fmt: skip
        move_to(net, accelerator.device, torch.channels_last)
        recipe = recipes.clean(1 + -(-job.steps // job.epoch_steps), job.epoch_steps, job.row.lr, pretrained=False)
        task = Task(
            net=net, head=job.row.head, train=train, augment=Augment(crop=0.5, flip=True), recipe=recipe,
            validate=lambda net: (0.0, {}), accelerator=accelerator, seed=0,
        )  # fmt: skip
        finetune(task, log)
    return ends[0] - start, statistics.median(rates[1:])


def seed(net: nn.Module, job: Job) -> Iterator[None]:
    """Code/food101.py of github.com/pranavphoenix/Backbones in its AdamW phase, as its CIFAR scripts.

    Every epoch decodes anew. The forward pass stands outside autocast, so it is float32. The progress bar
    reads loss and accuracy in each step. GradScaler turns itself off without CUDA.
    """
    steps = [transforms.TrivialAugmentWide(), transforms.Resize([job.size, job.size])]
    steps += [transforms.ToTensor(), transforms.Normalize(job.row.mean, job.row.std)]
    loader = folder_loader(job, transforms.Compose(steps), workers=2)
    net.to(job.device)
    criterion = nn.CrossEntropyLoss()
    scaler = torch.amp.GradScaler("cuda", enabled=job.cuda)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    for step, (images, labels) in enumerate(endless(loader)):
        if step % len(loader) == 0:
            epoch_loss, epoch_accuracy = 0, 0
        images, labels = images.to(job.device), labels.to(job.device)
        optimizer.zero_grad()
        logits = net(images)
        with torch.autocast("cuda", enabled=job.cuda):
            loss = criterion(logits, labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        epoch_accuracy += (logits.argmax(dim=1) == labels).float().mean() / len(loader)
        epoch_loss += loss / len(loader)
        _ = f" loss : {epoch_loss:.4f} - acc: {epoch_accuracy:.4f}"  # waits for the device
        yield


def torchvision_reference(net: nn.Module, job: Job) -> Iterator[None]:
    """references/classification/train.py of pytorch/vision: --amp --use-v2 --backend tensor, SGD.

    Tensors are the faster backend, as the documentation of transforms.v2 says, too. --amp is torch.cuda.amp:
    float16 with a scaled loss on CUDA, nothing on a CPU, so there it is float32. There is no option for
    channels last. Recipe: --auto-augment ta_wide --random-erase 0.1 of its ResNet-50, at the size of all;
    mixup, averaged weights and repeated augmentation are left out.
    """
    steps = [v2.PILToTensor(), v2.RandomResizedCrop(job.size, antialias=True), v2.RandomHorizontalFlip()]
    steps += [v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)] if job.recipe else []
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(job.row.mean, job.row.std)]
    steps += [v2.RandomErasing(p=0.1)] if job.recipe else []
    torch.backends.cudnn.benchmark = True
    loader = folder_loader(job, v2.Compose([*steps, v2.ToPureTensor()]), job.workers)
    net.to(job.device)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    scaler = torch.amp.GradScaler("cuda", enabled=job.cuda)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    for images, labels in endless(loader):
        images, labels = images.to(job.device), labels.to(job.device)
        with torch.autocast("cuda", enabled=job.cuda):
            logits = net(images)
            loss = criterion(logits, labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        right = logits.topk(5).indices == labels[:, None]
        loss.item(), right[:, 0].float().mean().item(), right.any(1).float().mean().item()
        yield


def timm_script(net: nn.Module, job: Job) -> Iterator[None]:
    """train.py of timm: --amp --amp-dtype bfloat16 --channels-last, fused AdamW, its prefetcher.

    --pin-mem --use-multi-epochs-loader --opt adamw --opt-kwargs fused=True. The prefetcher is on by default, on a
    CPU, too: uint8 leaves the workers, the device normalises. --amp is torch.autocast of any device; it is given
    our number format, so it is off where float32 is faster (depthwise networks on a CPU). Crops and flips alone:
    --color-jitter 0. Recipe: --aa rand-m7-mstd0.5-inc1 of "ResNet strikes back" and --reprob 0.25 (m9 posterizes
    to no bits now and then, which Pillow 13 refuses).
    """
    if job.cuda:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # its allow_tf32
    recipe = {"auto_augment": "rand-m7-mstd0.5-inc1", "re_prob": 0.25, "re_mode": "pixel"}
    numbers = {"interpolation": "random", "color_jitter": None, "mean": job.row.mean, "std": job.row.std}
    system = {"num_workers": job.workers, "pin_memory": job.cuda, "device": job.device}
    loader = create_loader(
        ImageDataset(str(job.folder)), job.size, job.batch, is_training=True, use_multi_epochs_loader=True,
        **numbers, **system, **(recipe if job.recipe else {}),
    )  # fmt: skip
    net.to(job.device, memory_format=torch.channels_last)
    criterion = timm.loss.LabelSmoothingCrossEntropy(0.1)
    scaler = torch.amp.GradScaler("cuda", enabled=job.dtype == torch.float16)
    optimizer = timm.optim.create_optimizer_v2(net, opt="adamw", lr=1e-4, weight_decay=0.05, fused=True)
    for images, labels in endless(loader):
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(job.device.type, job.dtype, enabled=job.dtype != torch.float32):
            loss = criterion(net(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        loss.item()
        optimizer.zero_grad()
        yield


def folder_loader(job: Job, transform: Callable[[Image.Image], Tensor], workers: int) -> MultiEpochsDataLoader:
    images = ImageFolder(job.folder, transform)
    return MultiEpochsDataLoader(images, job.batch, shuffle=True, num_workers=workers, pin_memory=job.cuda)


def endless(loader: Iterable) -> Iterator:
    return chain.from_iterable(repeat(loader))


LOOPS = {"ours": ours, "seed": seed, "torchvision": torchvision_reference, "timm": timm_script}


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(name: str, job: Job) -> tuple[float, float]:
    """Seconds of the first epoch, images per second later. In a process of its own: settings do not spread."""
    torch.manual_seed(0)
    net = build.create_model(job.row, CLASSES, None).train()
    if name == "ours":
        return ours(net, job)
    start = now(job.device)
    loop = LOOPS[name](net, job)
    for _ in range(job.epoch_steps):
        next(loop)
    first = now(job.device) - start
    for _ in range(2 * job.workers + 2 - job.epoch_steps):  # what queued while the first steps were slow
        next(loop)
    start = now(job.device)
    for _ in range(job.steps):
        next(loop)
    return first, job.steps * job.batch / (now(job.device) - start)


def picture(folder: str, i: int) -> None:
    """A photograph's stand-in: about 500 pixels a side, 60 to 90 KB, clouds with some grain."""
    rng = np.random.default_rng(i)
    side = int(rng.integers(340, 513))
    size = (512, side) if i % 3 else (side, 512)
    pixels = np.full((size[1], size[0], 3), 127, np.float32)
    for cells, depth in ((4, 50), (32, 20), (256, 14)):
        noise = rng.normal(0, depth, (3, cells, cells)).astype(np.float32)
        layers = [Image.fromarray(layer).resize(size, Image.Resampling.BICUBIC) for layer in noise]
        pixels += np.stack(layers, axis=2)
    file = Path(folder) / f"class_{i % CLASSES}" / f"{i:06d}.jpg"
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=90)


def medians(runs: list[dict]) -> dict[str, dict[str, dict[str, float]]]:
    """backbone -> figure -> loop -> median over rounds, and "ours/loop": how many times as fast ours is."""
    table: dict[str, dict] = {}
    for model in dict.fromkeys(run["model"] for run in runs):
        rows = [run for run in runs if run["model"] == model]
        if {run["loop"] for run in rows} != set(LOOPS):
            continue
        table[model] = {}
        for figure, sign in (("images_per_second", 1), ("first_epoch_seconds", -1)):
            of = {k: statistics.median(run[figure] for run in rows if run["loop"] == k) for k in LOOPS}
            ratios = {f"ours/{k}": round((of["ours"] / of[k]) ** sign, 3) for k in list(LOOPS)[1:]}
            table[model][figure] = {**of, **ratios}
    return table


def show(table: dict[str, dict[str, dict[str, float]]]) -> None:
    for figure in ("images_per_second", "first_epoch_seconds"):
        ratios = [f"ours/{k}" for k in list(LOOPS)[1:]]
        print(f"\n{figure:20}" + "".join(f"{column:>17}" for column in (*LOOPS, *ratios)))
        for model, figures in table.items():
            print(f"{model:20}" + "".join(f"{number:17.2f}" for number in figures[figure].values()))
        over = [statistics.median(figures[figure][ratio] for figures in table.values()) for ratio in ratios]
        print(f"{'median':20}{'':{17 * len(LOOPS)}}" + "".join(f"{ratio:17.2f}" for ratio in over))


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parser = argparse.ArgumentParser(description="images per second of four training loops, side by side")
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument("--images", type=int, default=96, help="of an epoch, a multiple of the batch")
    parser.add_argument("--size", type=int, default=224, help="pixels per side")
    parser.add_argument("-bs", "--batch_size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4, help="timed after the first epoch")
    parser.add_argument("--rounds", type=int, default=2, help="repeats of everything; the median counts")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of torchvision's and timm's loops")
    parser.add_argument("--augment", choices=("crop_flip", "recipe"), default="crop_flip")
    parser.add_argument("--out", type=Path, default=ROOT / f"benchmarks/results/compare_loops_{device.type}.json")
    options = parser.parse_args()
    if options.images % options.batch_size or options.images < 2 * options.batch_size:
        parser.error("--images: expected a multiple of -bs, two batches at least")

    rows = [build.get_backbone(name) for name in options.models]
    settings = {k: v for k, v in vars(options).items() if k not in ("models", "out")}
    about = {**provenance.collect(device, "each run's"), "cores": os.cpu_count(), **settings}
    runs: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        with multiprocessing.Pool() as pool:
            pool.starmap(picture, ((folder, i) for i in range(options.images)))
        for r in range(options.rounds):
            for m, row in enumerate(rows):
                mixed = our_accelerator(row).mixed_precision
                dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(mixed, torch.float32)
                job = Job(
                    row=row, folder=Path(folder), size=options.size, batch=options.batch_size,
                    epoch_steps=options.images // options.batch_size, steps=options.steps,
                    recipe=options.augment == "recipe", workers=options.workers, device=device, dtype=dtype,
                )  # fmt: skip
                number = dict.fromkeys(LOOPS, mixed.replace("no", "fp32"))
                number |= {"seed": "fp32", "torchvision": "fp16" if job.cuda else "fp32"}
                turn = (r + m) % len(LOOPS)  # nobody is always the first
                for name in [*LOOPS][turn:] + [*LOOPS][:turn]:
                    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as pool:
                        first, rate = pool.submit(measure, name, job).result()
                    run = {"round": r, "model": row.name, "loop": name, "precision": number[name]}
                    run |= {"images_per_second": round(rate, 3), "first_epoch_seconds": round(first, 3)}
                    runs.append(run)
                    print(*run.values(), flush=True)
                    write_json(options.out, {**about, "medians": medians(runs), "runs": runs})
    show(medians(runs))


if __name__ == "__main__":
    main()
