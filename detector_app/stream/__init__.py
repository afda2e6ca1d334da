"""Frames from a source to their boxes: feeds, streams, and the scheduler of all reads."""
