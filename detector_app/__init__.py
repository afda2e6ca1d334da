"""SPYv4 on cameras, files and the network: sources, live view, server."""

import spyv4.threads  # noqa: F401 - first: it settles how torch's threads wait
