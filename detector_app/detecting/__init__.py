"""What `spyv4-detect` does: inputs, frames, and a writer for every kind of output."""
