"""What a server's C library does with memory."""

import os
import platform
import subprocess
import sys

import pytest

ARENAS = """
import ctypes, sys, threading
from detector_app.http.memory import share_arena
share_arena()
libc = ctypes.CDLL(None)
libc.fopen.restype = libc.malloc.restype = ctypes.c_void_p
both = threading.Barrier(4)

def allocate():
    libc.malloc(100_000)
    both.wait()  # a thread that has ended would leave its arena to the next

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
@pytest.mark.parametrize(("chosen", "shared"), [({}, True), ({"MALLOC_ARENA_MAX": "8"}, False)])
def test_threads_share_an_arena_unless_somebody_chose_otherwise(tmp_path, chosen, shared):
    file = tmp_path / "malloc.xml"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | chosen
    subprocess.run([sys.executable, "-c", ARENAS, str(file)], check=True, env=environment)
    assert (file.read_text().count("<heap nr=") == 1) == shared
