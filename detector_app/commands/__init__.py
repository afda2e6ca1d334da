"""The console scripts of the app, a file each: its options, and then its work."""
