"""Files of spikes: one for the only picture, or one for every picture and frame in a folder."""

from collections.abc import Sequence
from pathlib import Path

from detector_app.detecting.found import Found
from detector_app.detecting.inputs import Input, Targets
from spyv4.errors import ArgumentError

SUFFIX = ".npz"


class SpikeWriter:
    """A file of spikes for every picture and frame, written at once and forgotten.

    Args:
        place: FILE.npz for the only picture, or a folder.
        targets: what is taken; of FILE.npz, that it is.
    """

    def __init__(self, place: Path, targets: Targets) -> None:
        self._place, self._targets = place, targets

    def write(self, found: Found) -> None:
        """Write the file.

        Raises:
            OSError: if it cannot be written.
        """
        assert found.spikes is not None, "recorded, where it is to be written"  # noqa: S101
        path = self._place
        if path.suffix != SUFFIX:
            path = self._targets.take(path / f"{found.name}{SUFFIX}")
        found.spikes.save(path)

    def close(self) -> None:
        """Nothing is left to do."""


def check_spikes(
    place: Path | None, potentials: str | None, inputs: Sequence[Input], targets: Targets
) -> None:
    """Check `--save-spikes` and `--save-potentials`, and claim the file that they name.

    Raises:
        ArgumentError: if they do not fit each other or the inputs.
    """
    if place is None:
        if potentials is not None:
            raise ArgumentError(
                f"--save-potentials {potentials} has no file to go to; add --save-spikes FILE.npz"
            )
        return
    if place.suffix != SUFFIX:
        if place.suffix and not place.is_dir():
            raise ArgumentError(
                f"--save-spikes must be FILE{SUFFIX}, or a folder whose name has no suffix, not "
                f"{place}"
            )
        return
    if len(inputs) > 1 or any(item.is_clip for item in inputs):
        many = "a clip" if len(inputs) == 1 else f"{len(inputs)} inputs"
        raise ArgumentError(
            f"--save-spikes {place} holds one picture, not {many}; name a folder instead, such as "
            f"{place.with_suffix('')}, for a file a picture and frame"
        )
    targets.claim(place, "--save-spikes")
