"""Comparison methods with the networks' interface: ``image [B, 2, *S]`` to ``ddf [B, d, *S]`` in voxels."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "ants": ["AntsRegistration"],
        "classical": ["ClassicalMethod"],
        "convexadam": ["ConvexAdam"],
        "dis": ["DenseInverseSearch"],
        "farneback": ["Farneback"],
        "ffd": ["BSplineRegistration", "NiftyReg"],
        "fft_xcorr": ["FFTXCorr"],
        "fireants": ["FireAnts"],
        "greedy": ["GreedyRegistration"],
        "identity": ["NoMotion"],
        "ilk": ["IterativeLucasKanade"],
        "piv": ["ParticleImageVelocimetry"],
        "tvl1": ["TotalVariationFlow"],
    },
)
