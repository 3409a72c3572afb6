"""The usual names of train, validation and test folders."""

import re
from collections.abc import Iterable

from ...spec import PARTS

NAMES = {
    "train": {"train", "training", "trn", "tr"},
    "val": {"val", "valid", "validation", "dev", "devel", "development"},
    "test": {"test", "testing", "tst", "holdout", "eval", "evaluation"},
}
PART_OF = {name: part for part, names in NAMES.items() for name in names}
FILLERS = {"set", "data", "dataset", "split", "part", "images", "image", "imgs", "img", "folder", "files"}
EVALUATION = {"eval", "evaluation"}  # validation where there is a test set beside it
# in "seg_train" and "seg_test"
AFFIXED = {"train", "training", "val", "valid", "validation", "test", "testing"}
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
YEAR = re.compile(r"(?:19|20)\d\d")


def part_of(name: str) -> str | None:
    """The part that a name denotes, in any case, with or without a year or a word such as "set" or "images"."""
    return PART_OF.get(_core(name))


def parts_of(names: Iterable[str]) -> dict[str, str]:
    """{name: part} of the names that denote one; an evaluation set beside a test set is validation."""
    names = list(names)
    parts = {name: part for name in names if (part := part_of(name))} | _affixed(names)
    evaluation = [name for name in parts if _core(name) in EVALUATION]
    if evaluation and "val" not in parts.values() and list(parts.values()).count("test") > len(evaluation):
        parts |= dict.fromkeys(evaluation, "val")
    return dict(sorted(parts.items(), key=lambda item: (PARTS.index(item[1]), item[0])))


def _affixed(names: Iterable[str]) -> dict[str, str]:
    """{name: part} of names that differ in the part alone, such as "seg_train" and "seg_test"."""
    of_rest: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        tokens = _tokens(name)
        if len(tokens) > 1 and len(parts := [token for token in tokens if token in AFFIXED]) == 1:
            rest = tuple(token for token in tokens if token not in AFFIXED)
            of_rest.setdefault(rest, {})[name] = PART_OF[parts[0]]
    several = [found for found in of_rest.values() if "train" in found.values() and len(set(found.values())) > 1]
    return {name: part for found in several for name, part in found.items()}


def _tokens(name: str) -> list[str]:
    name = YEAR.sub(" ", CAMEL.sub(" ", name))
    return [token for token in re.split(r"[^a-z]+", name.lower()) if token]


def _core(name: str) -> str:
    tokens = _tokens(name)
    tokens = [token for token in tokens if token not in FILLERS] if len(tokens) > 1 else tokens
    core = "".join(tokens)
    return re.sub(r"(set|data|images)$", "", core) or core
