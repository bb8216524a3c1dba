"""What is not DICOM: volumes and images, in and out."""
