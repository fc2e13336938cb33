"""Blood flow in the left ventricle from contrast cines: blood pool, velocity, vortices, energy, files and a report."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "blood_evaluator": ["BloodEvaluator"],
        "measures": ["BloodFlow", "measure_flow"],
        "result_files": ["write_flow"],
    },
)
