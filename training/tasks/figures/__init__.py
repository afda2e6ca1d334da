"""Figures of the paper, drawn anew: one file a figure."""
