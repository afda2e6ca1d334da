"""What holds for every process of the tests."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import anyio
from hypothesis import settings

import spyv4  # noqa: F401 - before torch: it settles how torch's threads wait

import torch  # isort: skip

# As the commands do, before albumentations is imported and looks for updates online.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

# What is measured and built here is no user's; the processes of one run share it.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ.setdefault("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="spyv4-tests-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
# Servers that compile beside the tests would slow them down for minutes.
os.environ["SPYV4_COMPILE"] = "false"

# A busy machine is no failure.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

# There is a process a core already.
torch.set_num_threads(1)

# anyio loads this part when it is first used, in a server's thread, say; pytest parses it then, and
# CPython 3.11 cannot parse in two threads at once.
assert anyio.open_file
