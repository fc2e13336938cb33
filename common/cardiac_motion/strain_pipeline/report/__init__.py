"""Reports of strain: HTML, figures, tables and DICOM SR."""
