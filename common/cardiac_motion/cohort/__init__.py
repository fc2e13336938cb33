"""Lists of cases on Dask: on this machine, on a running cluster, or on one requested from SLURM, PBS or LSF.

``engine`` processes the cases, ``cluster`` provides the machines, ``runner`` manages the process that runs a case,
``bundle`` defines the case of a bundle, and ``journal`` records a cohort in MLflow.
"""

import os

import lazy_loader as lazy

from cardiac_motion.core.extras import require_extra

os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")  # Dask logs every connection
os.environ.setdefault("DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED", "False")  # samples that nobody reads

require_extra(["distributed"], "a list of cases")

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "bundle": ["bundle_work", "open_bundle"],
        "engine": ["ClusterLost", "run_cases"],
        "runner": ["Limits", "Work"],
    },
)
