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
    from .classifier import Classifier, Predictions

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
    card = results.read_model_card(run_folder / results.BEST)
    if top < 1:
        raise UserError(f"--top {top}: expected 1 or more")
    if explain:
        check_new(explain, "--explain")
    images = [image for path in inputs for image in _images(path)]
    _check_any_opens(images, card["preprocess"])  # before torch is imported

    from .classifier import load_classifier

    classifier, classes = load_classifier(run_folder, card), card["classes"]
    if explain:
        with disk_errors(explain, "--explain"):
            explain.mkdir()
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        predictions = classifier.predict(chunk)
        probabilities, order = predictions.probabilities.tolist(), predictions.probabilities.argsort(1, descending=True)
        labels = [point.order(p) for p in probabilities] if point else order.tolist()
        if explain:
            _write_pictures(explain, classifier, predictions, chunk, start)
        for i, image in enumerate(chunk):
            ranked = [(classes[label], probabilities[i][label]) for label in labels[i][:top]]
            yield image, predictions.unreadable.get(i) or ranked


def _write_pictures(
    folder: Path, classifier: "Classifier", predictions: "Predictions", images: list[str], start: int
) -> None:
    """00001-NAME.png ..., numbered from `start` in the order of the images."""
    from ..models.explain import write_picture

    for i, heat in enumerate(classifier.explain(predictions)):
        if i not in predictions.unreadable:
            name = f"{start + i + 1:05}-{Path(images[i]).stem}.png"
            write_picture(folder / name, predictions.batches.display(i), heat)


def _images(path: Path) -> list[str]:
    if path.is_file():
        return [str(path)]
    if not path.is_dir():
        raise UserError(f"no image or folder {path}")
    images = sorted(image for image, _ in image_files(path))
    if not images:
        raise UserError(f"no images in {path}")
    return images


def _check_any_opens(images: list[str], preprocess: Preprocess) -> None:
    first_error = None
    for image in images:
        try:
            open_image(image, preprocess)
            return
        except Exception as error:  # decoders fail on broken files in every possible way
            first_error = first_error or error
    raise UserError(f"none of {len(images):,} images can be read, the first is {images[0]} ({first_error})")
