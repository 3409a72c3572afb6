"""Read PlantVillage: class folders, grouped by leaf."""

import json
from dataclasses import replace
from pathlib import Path

from ...errors import UserError
from ...spec import Classes, Samples
from .files import locate
from .folders import class_folders

LEAF_MAP = "leaf-map.json"


def leaf_folders(root: Path, classes: Classes) -> Samples:
    """Class folders; with `leaf-map.json` in or below `root`, the images of a leaf form a group.

    The map is {identifier: ["<class>:::<leaf>", ...]}: the identifier is the end of the original file name, and
    several classes may share it. An image without a leaf forms a group with its copies.
    """
    samples = class_folders(root, classes)
    base = locate(root, lambda folder: (folder / LEAF_MAP).is_file())
    if base is None:
        return samples
    try:
        leaf_map = json.loads((base / LEAF_MAP).read_text("utf-8"))
        leaves = [_leaf(name, leaf_map) for name in samples.names]
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"cannot read {base / LEAF_MAP} ({error}): fetch it again") from None
    if not any(leaves):
        raise UserError(
            f"{base / LEAF_MAP} has none of the images, such as {samples.names[0]}: it belongs to the edition with "
            f"the original file names (huggingface.co/datasets/mohanty/PlantVillage); use that one, or remove the map"
        )
    fallback = [f"{name.split('/')[0]}/{_identifier(name)}" for name in samples.names]
    return replace(samples, groups=[leaf or identifier for leaf, identifier in zip(leaves, fallback, strict=True)])


def _leaf(name: str, leaf_map: dict[str, list[str]]) -> str | None:
    of_class = [leaf for leaf in leaf_map.get(_identifier(name), []) if leaf.startswith(name.split("/")[0] + ":::")]
    return of_class[0] if of_class else None


def _identifier(name: str) -> str:
    """`Class/0a5e9323-dbad___RS_HL 100 copy 2.JPG` -> `rs_hl 100`, as the map's authors do."""
    return Path(name).stem.lower().split("___")[-1].split("copy")[0].strip()
