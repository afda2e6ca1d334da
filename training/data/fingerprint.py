"""What a training set is, so that a run is resumed on the same one wherever it lies."""

import hashlib
from collections.abc import Sequence

from training.data.voc import AnnotatedImage


def fingerprint(images: Sequence[AnnotatedImage]) -> str:
    """A checksum of the pictures (name, bytes on the disk, size) and of their objects, in order."""
    digest = hashlib.sha256()
    for image in images:
        length = image.image_path.stat().st_size
        digest.update(repr((image.image_id, length, image.size, image.objects)).encode())
    return digest.hexdigest()
