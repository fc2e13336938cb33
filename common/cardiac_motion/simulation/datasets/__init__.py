"""Data sets of simulated cines and pairs, generated on the fly or written to disk."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "dataset": ["SimulatedPairs", "TemplateSource", "settings_from"],
        "rendered": ["write_pairs"],
        "testset": ["write_testset"],
        "write": ["write_cases"],
    },
)
