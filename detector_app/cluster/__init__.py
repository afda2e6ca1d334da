"""More than one process or machine, by Ray; it is imported where it is used alone."""
