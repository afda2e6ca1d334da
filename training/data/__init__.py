"""Reading and augmenting data sets."""
