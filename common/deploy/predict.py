"""Predictions of a finished run's network for new images, with its classes and preprocessing."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.images.open import open_image
from ..data.readers import image_files
from ..errors import UserError, disk_errors
from ..files.atomic import check_new
from ..run import results
from ..spec import Preprocess

if TYPE_CHECKING:
    from ..run.operating_point import OperatingPoint
    from .classifier import Classified, Classifier

CHUNK = 1024  # images in memory at once


def predict(
    run_folder: Path, inputs: list[Path], top: int, explain: Path | None = None, point: "OperatingPoint | None" = None
) -> Iterator[tuple[str, list[tuple[str, float]] | str]]:
    """(image, its `top` classes with probabilities, most likely first) for files and folders of images.

    For an unreadable image, the reason replaces the classes. `explain`: a new folder for a picture of every other image
    and the regions that support its most likely class. With a `point` the class that it decides for comes first.

    Raises:
        UserError: no finished run, no such image, none that can be read, or `explain` exists.
    """
    path = run_folder / results.BEST
    if not path.is_file():
        raise UserError(f"no trained model in {run_folder}: expected {path.name} of a finished run")
    if top < 1:
        raise UserError(f"--top {top}: expected 1 or more")
    if explain:
        check_new(explain, "--explain")
    images = [image for given in inputs for image in _images(given)]
    metadata = results.read_model_card(path)
    _check_any_opens(images, metadata["preprocess"])  # before torch is imported

    from .classifier import load_classifier

    classifier, classes = load_classifier(run_folder, metadata), metadata["classes"]
    if explain:
        with disk_errors(explain, "--explain"):
            explain.mkdir()
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        found = classifier.classify(chunk)
        probabilities, order = found.probabilities.tolist(), found.probabilities.argsort(1, descending=True)
        labels = [point.order(p) for p in probabilities] if point else order.tolist()
        if explain:
            _write_pictures(explain, classifier, found, chunk, start)
        for i, image in enumerate(chunk):
            ranked = [(classes[label], probabilities[i][label]) for label in labels[i][:top]]
            yield image, found.unreadable.get(i) or ranked


def _write_pictures(folder: Path, classifier: "Classifier", found: "Classified", images: list[str], start: int) -> None:
    """00001-NAME.png ..., numbered from `start` in the order of the images."""
    from ..models.explain import write_picture

    for i, heat in enumerate(classifier.explain(found)):
        if i not in found.unreadable:
            name = f"{start + i + 1:05}-{Path(images[i]).stem}.png"
            write_picture(folder / name, found.batches.display(i), heat)


def _images(given: Path) -> list[str]:
    if given.is_file():
        return [str(given)]
    if not given.is_dir():
        raise UserError(f"no image or folder {given}")
    found = sorted(path for path, _ in image_files(given))
    if not found:
        raise UserError(f"no images in {given}")
    return found


def _check_any_opens(images: list[str], preprocess: Preprocess) -> None:
    first_error = None
    for image in images:
        try:
            open_image(image, preprocess)
            return
        except Exception as error:  # decoders fail on broken files in every possible way
            first_error = first_error or error
    raise UserError(f"none of {len(images):,} images can be read, the first is {images[0]} ({first_error})")
