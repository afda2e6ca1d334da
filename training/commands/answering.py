"""What the console scripts of the training package do around their work."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from spyv4.extras import require_extra
from training.interrupts import Interrupts


@contextmanager
def answering(command: str) -> Iterator[Interrupts]:
    """Within the block signals are answered at once, even while torch loads."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks its authors' server
    with Interrupts(command).listening() as stop:
        yield stop


def require_training() -> None:
    """Raise `RuntimeUnavailableError` unless the `train` extra is installed."""
    require_extra("train", "training and evaluation")
