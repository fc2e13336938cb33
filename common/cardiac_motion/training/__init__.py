"""Trainers, data sets and records of training runs."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "cine_pairs": ["CinePairs", "DeformedFrames"],
        "flow_pairs": ["NaturalFlowPairs", "RenderedFlowPairs", "SimulatedFlowPairs"],
        "pairs": ["DeformedPairs", "SubjectPairs", "Subjects"],
        "tracked_training": ["TrainingRecord"],
        "trainer": ["RegistrationTrainer", "RegistrationValidator", "TrainingCheckpoint"],
    },
)
