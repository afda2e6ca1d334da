"""Spiking neurons, one a file."""
