"""What the learning rules cost and bring, measured; each module is a command (`python -m`)."""
