"""Spiking layers."""
