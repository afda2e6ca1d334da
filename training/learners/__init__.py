"""Learning rules: FPTT and its baseline."""
