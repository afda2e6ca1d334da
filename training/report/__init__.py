"""Progress, logs and reports."""
