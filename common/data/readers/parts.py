"""Rename official parts."""

from dataclasses import replace
from pathlib import Path

from ...spec import Classes, Reader, Samples


def parts_as(load: Reader, **parts: str) -> Reader:
    """Wrap a reader and rename its parts: `val="train"` merges validation into train, `val=""` drops it."""

    def read(root: Path, classes: Classes, **chosen: int) -> Samples:
        samples = load(root, classes, **chosen)
        return replace(samples, parts=[parts.get(part, part) for part in samples.parts])

    return read
