"""Training and evaluation of SPYv4 on data sets."""

import spyv4.threads  # noqa: F401 - first: it settles how torch's threads wait
