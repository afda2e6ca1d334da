import anyio

import spyv4  # noqa: F401 - before any test imports torch: it settles how torch's threads wait

# anyio loads this part when it is first used, in a server's thread, say; pytest parses it then, and
# CPython 3.11 cannot parse in two threads at once.
assert anyio.open_file
