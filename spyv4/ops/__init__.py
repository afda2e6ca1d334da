"""Boxes, anchors and decoding."""
