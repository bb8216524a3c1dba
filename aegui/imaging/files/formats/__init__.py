"""File formats other than DICOM: what each header says, and the same header written around new values."""
