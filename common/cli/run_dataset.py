"""The dataset of a finished run, loaded anew from its options."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..run import results
from . import catalog
from .parse import make_config, parse

if TYPE_CHECKING:
    from ..data.dataset import LoadedDataset


def load_run_dataset(run_folder: Path) -> "LoadedDataset":
    """The images and the split of a run.

    Raises:
        UserError: data or initial weights are missing, or the images or their split have changed.
    """
    from ..data.dataset import load_dataset
    from ..data.splits.splits import test_fingerprint

    result = results.read_json(run_folder / results.RESULT)
    script = result["dataset"].partition("-")[0]
    sheets = tuple(sheet for sheet in catalog.datasets() if sheet.script == script)
    if not sheets:
        raise UserError(f"no data sheet {script}.py")
    config = make_config(sheets, parse(sheets, ["--config", str(run_folder / results.OPTIONS)]))
    preprocess = results.read_model_card(run_folder / results.BEST)["preprocess"]
    dataset = load_dataset(config, preprocess, lambda record: None)
    if test_fingerprint(dataset.samples, dataset.split) != result["split"]["test_fingerprint"]:
        raise UserError(f"the test images in {config.data_dir} are not those of the run")
    return dataset
