"""Find the grouping of images that the accuracy of a probe depends on most, cached by content."""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..data.groups.candidates import Candidate, candidates, folder_candidates, natural_order
from ..data.images.cache import content_hash, decode_cached
from ..files.disk_cache import cached
from ..models import build, weights
from ..spec import Preprocess, Samples
from .small_network import BACKBONE, SIZE, small_extractor

if TYPE_CHECKING:
    import numpy as np

    from .group_test import Drop

FORMAT = 3  # of the cached results: increase it to invalidate older ones
LIMITS = (1000, 3000)  # images tested: the second only if the first show a drop
MIN_DROP = 0.01  # of the accuracy: a smaller one does not matter
BLOCK = 20  # neighbours by name that are sampled together
CLASS_QUOTA = 100  # images of a class; of many classes some are sampled
MIN_PER_CLASS = 3  # images: with fewer, no split can be drawn


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """A grouping whose groups matter: a probe without an image's group is less accurate."""

    candidate: Candidate
    mixed: float  # accuracy of a probe fitted without random images
    apart: float  # fitted without the image's group
    low: float  # of the difference, 95 %
    high: float


def preprocess_for_probe(
    value_range: tuple[float, float] | None = None, bands: tuple[int, int, int] | None = None
) -> Preprocess:
    pixels = build.get_backbone(BACKBONE).preprocess(SIZE)
    return replace(pixels, squash=True, value_range=value_range, bands=bands)


def find_grouping(
    samples: Samples, preprocess: Preprocess, offline: bool = False, cache: bool = True
) -> Grouping | None:
    """The first candidate that explains as much of the drop as any, if its drop is above `MIN_DROP` for certain.

    Raises:
        UserError: there are candidates, and the weights of `BACKBONE` are not available.
    """
    tried = candidates(samples)
    if not tried or min(Counter(samples.labels).values()) < MIN_PER_CLASS:
        return None
    backbone = build.get_backbone(BACKBONE)
    weights.locate(backbone, "imagenet", offline)

    def compute() -> dict[str, Any]:
        drops = measure_drops(samples, tried, preprocess, offline, cache)
        return {"drops": [drop and asdict(drop) for drop in drops]}

    if not cache:
        return _choose(tried, compute()["drops"])
    key = {
        "form": FORMAT,
        "images": content_hash(samples.images, SIZE, preprocess),
        "candidates": _digest(samples, tried),
        "weights": backbone.sha256,
    }
    return _choose(tried, cached("groupings", key, compute)["drops"])


def untestable_folder(samples: Samples) -> Candidate | None:
    """Sub-folders that are too few to test; None if a class has no more than one."""
    import numpy as np

    from .group_test import testable

    labels = np.asarray(samples.labels)
    for candidate in folder_candidates(samples):
        groups = np.unique(candidate.groups, return_inverse=True)[1]
        several = len(np.unique(np.stack([labels, groups]), axis=1).T) > len(samples.classes)
        if several and testable(labels, groups) is None:
            return candidate
    return None


def _digest(samples: Samples, candidates: Sequence[Candidate]) -> str:
    content = repr((list(samples.names), list(samples.labels), [candidate.groups for candidate in candidates]))
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()


def _choose(candidates: Sequence[Candidate], drops: Sequence[dict[str, float] | None]) -> Grouping | None:
    pairs = zip(candidates, drops, strict=True)
    tested = [Grouping(candidate=candidate, **drop) for candidate, drop in pairs if drop]
    certain = [grouping for grouping in tested if grouping.low > MIN_DROP]
    if not certain:
        return None
    most = max(grouping.low for grouping in certain)
    return next(grouping for grouping in certain if grouping.mixed - grouping.apart >= most)


def measure_drops(
    samples: Samples, candidates: Sequence[Candidate], preprocess: Preprocess, offline: bool, cache: bool
) -> "list[Drop | None]":
    """The drops on a sample; on a larger one if the first shows a drop that may matter."""
    import numpy as np

    from .group_test import test_groupings, testable

    labels = np.unique(samples.labels, return_inverse=True)[1]
    groups = [np.unique(candidate.groups, return_inverse=True)[1] for candidate in candidates]
    drops: list[Drop | None] = [None] * len(candidates)
    features = {}
    for limit in LIMITS:
        sample = sample_blocks(samples, limit)
        part = [np.unique(each[sample], return_inverse=True)[1] for each in groups]
        present = np.unique(labels[sample], return_inverse=True)[1]
        if all(testable(present, each) is None for each in part):
            return drops
        if new := [i for i in sample if i not in features]:
            features |= probe_features(samples.images, new, preprocess, offline, cache)
        readable = [k for k, i in enumerate(sample) if features[i] is not None]
        if not readable:
            return [None] * len(candidates)
        values = np.stack([features[sample[k]] for k in readable])
        present = np.unique(present[readable], return_inverse=True)[1]
        part = [np.unique(each[readable], return_inverse=True)[1] for each in part]
        drops = test_groupings(values, present, part)
        if len(sample) == len(labels) or all(drop is None or drop.estimate < MIN_DROP for drop in drops):
            break
    return drops


def sample_blocks(samples: Samples, limit: int) -> list[int]:
    """About `limit` positions, in blocks of neighbours by name; those of a smaller limit are among them."""
    if len(samples) <= limit:
        return list(range(len(samples)))
    members: dict[int, list[int]] = defaultdict(list)
    for i in natural_order(samples.names):
        members[samples.labels[i]].append(i)
    generator = random.Random(0)
    labels = generator.sample(sorted(members), len(members))
    quota = max(CLASS_QUOTA, limit // len(members))
    sampled: list[int] = []
    for label in labels[: max(2, limit // quota)]:
        blocks = [members[label][i : i + BLOCK] for i in range(0, len(members[label]), BLOCK)]
        order = random.Random(label).sample(blocks, len(blocks))
        sampled += [i for block in order[: -(-quota // BLOCK)] for i in block]
    return sorted(sampled)


def probe_features(
    images: Sequence, positions: Sequence[int], preprocess: Preprocess, offline: bool, cache: bool
) -> "dict[int, np.ndarray | None]":
    """{position: (D,) features}; None for an image that cannot be read. Computed on the CPU, the same everywhere."""
    from ..data.images.decode import decode
    from .features import cached_features, extract_features

    extractor = small_extractor(preprocess, offline)
    selected, every = _select(images, positions), range(len(positions))
    if cache:
        values = cached_features(extractor, selected, every, None).values
        _, bad = decode_cached(selected, preprocess, None)
    else:
        pixels, bad = decode(selected, preprocess, None)
        values = extract_features(extractor, pixels, every).values
    return {i: None if k in bad else values[k] for k, i in enumerate(positions)}


def _select(images: Sequence, positions: Sequence[int]) -> "list[str] | np.ndarray":
    """Files, or pixels of images of one size."""
    selected = [images[i] for i in positions]
    if isinstance(images, list):
        return selected
    import numpy as np

    return np.stack(selected)
