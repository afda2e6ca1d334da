"""The console scripts of the detector package: export and benchmark."""
