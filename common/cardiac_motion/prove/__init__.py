"""Evaluation on public data that were not used in development, together with other methods in the same run."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "flow_files": ["read_flow"],
        "measurement": ["BundleMethod", "Registration", "Row", "load_methods"],
        "sources": ["SOURCES", "Source"],
    },
)
