"""DICOM: headers → series, pixels in, derived series out."""
