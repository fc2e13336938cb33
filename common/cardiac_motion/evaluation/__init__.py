"""Evaluation of cases: evaluators, result files, ground truth, agreement, figures."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "agreement": ["bland_altman"],
        "case_evaluator": ["CaseEvaluator", "CaseEvents", "Report"],
        "cine": ["CineEvaluator", "CineReport"],
        "contour": ["TrackedContour", "track_contour"],
        "scores": ["Scores"],
        "tracked_evaluation": ["RunRecord"],
        "volume": ["VolumeEvaluator", "VolumeReport"],
        "writer": ["MetricsTable", "case_folder"],
    },
)
