"""Everything that runs import, for the server from which a sweep forks them."""

import gc

import sklearn.metrics  # noqa: F401
import timm  # noqa: F401
import torch.utils.tensorboard  # noqa: F401
import yaml  # noqa: F401

from ..run import artifacts, contact_sheet, evaluation, probe_run, provenance, run, setup  # noqa: F401

provenance.shared_code()  # as imported, whatever is edited while the sweep runs
gc.freeze()  # forks share the modules' memory, as no collection writes to it
