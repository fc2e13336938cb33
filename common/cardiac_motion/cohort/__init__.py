"""Lists of cases on Dask: on this machine, on a running cluster, or on one asked of SLURM, PBS or LSF.

``engine`` goes through the cases, ``cluster`` finds the machines, ``runner`` keeps the process that does a case on one
of them, ``bundle`` says what a case of a bundle is, and ``record`` tells MLflow.
"""

import os

import lazy_loader as lazy

from cardiac_motion.core.extras import require_extra

os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")  # its own account of every connection
os.environ.setdefault("DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED", "False")  # an hour of samples, which nobody sees

require_extra(["distributed"], "a list of cases")

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "bundle": ["bundle_work", "open_bundle"],
        "engine": ["ClusterLost", "run_cases"],
        "runner": ["Limits", "Work"],
    },
)
