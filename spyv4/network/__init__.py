"""The spiking network: a table of its layers, and what follows from it."""
