"""Official parts under other names."""

from dataclasses import replace
from pathlib import Path

from ...spec import Classes, Reader, Samples


def parts_as(load: Reader, **parts: str) -> Reader:
    """The reader with other parts: `val="train"` merges validation into train, `val=""` leaves it out."""

    def read(root: Path, classes: Classes, **chosen: int) -> Samples:
        samples = load(root, classes, **chosen)
        return replace(samples, parts=[parts.get(part, part) for part in samples.parts])

    return read
