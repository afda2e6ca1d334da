"""Where the pictures of a batch stop by a rule, while the batch itself is looked at further."""

from spyv4.anytime import stops
from spyv4.options import ReadOptions
from spyv4.reading import Look
from spyv4.types import Detections


class Stopping:
    """Sees every read of a batch, and keeps what each picture has where it stops.

    So a rule is measured on the reads that are made anyway.

    Args:
        rule: parameters of `auto`, and the thresholds by which the boxes are found that must agree.
        batch: how many pictures.

    Attributes:
        taken: how many reads each picture got; 0 while it is looked at.
        took_ms: what the batch took: of every read the share of the pictures that got it.
    """

    def __init__(self, rule: ReadOptions, batch: int) -> None:
        self.taken = [0] * batch
        self.took_ms = 0.0
        self._rule = rule
        self._found: list[Detections | None] = [None] * batch
        self._before: list[Detections] = []
        self._agreeing_ms = 0.0  # of decoding after the reads before

    @property
    def detections(self) -> list[Detections]:
        """What each picture has; there must be none that is looked at still."""
        return [found for found in self._found if found is not None]

    def see(self, look: Look) -> None:
        """Take the newest read of the batch, thresholds of the boxes to keep being the look's."""
        going = [index for index, taken in enumerate(self.taken) if not taken]
        if not going:
            return
        now = look.detections(self._rule)
        for index in going:
            before = self._before[index] if self._before else None
            if stops(look.number, before, now[index], self._rule):
                kept = look.detections()[index]
                self._found[index], self.taken[index] = kept, look.number
                took_ms = sum(kept.timings_ms.values()) + self._agreeing_ms
                self.took_ms += took_ms / look.batch
        self._before = now
        self._agreeing_ms += now[0].timings_ms["decode"]
