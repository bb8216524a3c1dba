"""Recipe parts → torch objects; fit() → events."""
