"""Registration: test-time optimisation, pairwise inference, losses, atlases."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "anchored": ["AnchoredInferer"],
        "atlas": ["AtlasSegmentation", "Atlases", "Segmentation"],
        "gaps": ["GapsInferer"],
        "losses": ["MembershipRegistrationLoss", "RegistrationLoss"],
        "material_wall": ["follow_wall"],
        "midwall": ["follow_midwall"],
        "overlap": ["segmentation_scores"],
        "pairwise": ["PairwiseInferer", "SizedInferer", "SpannedInferer", "make_consistent"],
        "result": ["RegistrationInferer", "RegistrationResult", "Stage", "register"],
        "testtime": ["MultiScaleTestTimeTraining"],
        "wall_motion": ["regularise_wall"],
    },
)
