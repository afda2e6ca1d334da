"""Training and evaluation of SPYv4 on data sets."""
