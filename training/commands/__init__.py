"""The console scripts of the training package, a file each: its options, and where its work is."""
