"""Shared foundations: errors, atomic files, tables, case lists, the tracking store."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "datalist": ["read_datalist"],
        "entry": ["Case", "Entry", "Keyed"],
        "errors": ["InputError"],
        "extras": ["import_extra"],
        "stored": ["load_nifti"],
        "tables": ["write_csv"],
        "whole_files": ["write_whole"],
    },
)
