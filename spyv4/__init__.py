"""SPYv4: a spiking object detector."""
