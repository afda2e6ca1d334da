"""Counting what was found, by class."""

from collections import Counter, defaultdict

from detector_app.detecting.found import Found


class Tally:
    """How many objects of every class were found.

    An object that is tracked counts once in its clip, as the class that it was seen as most often.
    Of a tracked clip what has no track yet does not count. Without tracks every box counts.
    """

    def __init__(self) -> None:
        self._boxes: Counter[str] = Counter()
        self._seen: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)

    def add(self, found: Found) -> None:
        """Count what was found in one more picture or frame."""
        detections = found.detections
        if detections.tracks is None:
            self._boxes.update(detections.names)
            return
        for name, track in zip(detections.names, detections.tracks.tolist(), strict=True):
            if track:
                self._seen[str(found.source.path), track][name] += 1

    def __str__(self) -> str:
        """The classes and their numbers, most first: `car 4, person 1`."""
        tracked = (names.most_common(1)[0][0] for names in self._seen.values())
        counts = (self._boxes + Counter(tracked)).most_common()
        return ", ".join(f"{name} {number}" for name, number in counts) or "nothing"
