"""FPTT's memory does not grow with the number of reads; that of its baseline does."""

import json
import os
import subprocess
import sys
from typing import NamedTuple

import pytest

# The same process does the same things but for the rule and the number of reads; glibc is told
# to give freed memory back, so that its peak is that of what is in use.
PROGRAM = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
import torch
from spyv4 import SPYv4
from spyv4.config import model_preset
from spyv4.validation import from_mapping, to_mapping
from training.config import TrainingConfig
from training.data import Batch
from training.loop import Trainer
from training.run_state import RunState
from training.runs import RunFolder

rule, reads = sys.argv[1], int(sys.argv[2])
model = to_mapping(model_preset("spyv4-nano")) | {"image_size": (160, 160)}
config = from_mapping(
    TrainingConfig,
    {"model": model, "epochs": 1, "batch_size": 8, "reads": reads, "precision": "float32",
     "learner": {"kind": rule, "loss_at": "every"}},
)
torch.manual_seed(0)
loader = SimpleNamespace(steps_per_epoch=2, fingerprint="")
state = RunState(SPYv4(config.model), loader, config)
trainer = Trainer(state, loader, RunFolder(Path()), compile_step=False)
state.train_mode()
images = torch.randint(0, 255, (8, 3, 160, 160), dtype=torch.uint8)
targets = torch.tensor([[i, i % 20, 90.0, 100.0, 60.0, 80.0] for i in range(8)])

def mebibytes(name):
    # Not ru_maxrss, which starts from the peak of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 2**10

before = mebibytes("VmRSS:")
for step in range(2):
    trainer._train_batch(Batch(images, targets))
print(json.dumps({"before": before, "peak": mebibytes("VmHWM:")}))
"""


class Memory(NamedTuple):
    """MiB of a process: when everything was loaded, and at its peak."""

    before: float
    peak: float

    @property
    def training(self) -> float:
        """What training took."""
        return self.peak - self.before


def measure(rule: str, reads: int) -> Memory:
    environment = os.environ | {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, rule, str(reads)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Memory(**json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_eight_reads_is_that_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    memory = {(rule, reads): measure(rule, reads) for rule in ("fptt", "bptt") for reads in (1, 8)}
    ratios = {
        rule: (
            memory[rule, 8].peak / memory[rule, 1].peak,
            memory[rule, 8].training / memory[rule, 1].training,
        )
        for rule in ("fptt", "bptt")
    }
    lines = [
        f"{rule}, {reads} reads: peak {found.peak:.0f} MiB, training {found.training:.0f} MiB"
        for (rule, reads), found in memory.items()
    ]
    lines += [
        f"{rule}, 8 reads against 1: peak x{peak:.3f}, training x{training:.3f}"
        for rule, (peak, training) in ratios.items()
    ]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert ratios["fptt"][0] <= 1.1
    assert ratios["fptt"][1] <= 1.1
    assert ratios["bptt"][0] > 1.5
    assert ratios["bptt"][1] > 3
