"""What holds for every process of the tests."""

import os

import anyio
from hypothesis import settings

import spyv4  # noqa: F401 - before torch: it settles how torch's threads wait

import torch  # isort: skip

# As the commands do, before albumentations is imported and looks for updates online.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

# A busy machine is no failure.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

# There is a process a core already.
torch.set_num_threads(1)

# anyio loads this part when it is first used, in a server's thread, say; pytest parses it then, and
# CPython 3.11 cannot parse in two threads at once.
assert anyio.open_file
