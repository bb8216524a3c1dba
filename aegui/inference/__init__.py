"""A model applied to scans."""
