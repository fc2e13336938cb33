"""Reports of strain: HTML, figures, tables and DICOM SR."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "report_files": ["write_strain_case"],
        "study_report": ["StudyReport"],
    },
)
