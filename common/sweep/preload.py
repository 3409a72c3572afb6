"""Everything that runs import, for the server from which a sweep forks them."""

import gc

import sklearn.metrics  # noqa: F401
import timm  # noqa: F401
import torch.utils.tensorboard  # noqa: F401
import yaml  # noqa: F401

from ..run import (  # noqa: F401
    artifacts,
    augment,
    baselines,
    contact_sheet,
    divergence,
    evaluation,
    probe_run,
    provenance,
    run,
    search,
    setup,
)

provenance.shared_code()  # as imported, whatever is edited while the sweep runs
gc.freeze()  # forks share the modules' memory, as no collection writes to it
