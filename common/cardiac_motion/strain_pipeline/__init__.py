"""From an apical cine to a strain report."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "cases": ["StudyCases"],
        "strain_case": ["StrainCase", "StudyView"],
        "strain_evaluator": ["StrainEvaluator"],
    },
)
