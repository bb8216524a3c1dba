"""Training slices: pairs, labels, split by patient, batches."""
