"""Ways of running a network."""
