"""Annotations from a detector: `spyv4-label`."""
