"""Decoding JPEG files whole or not at all.

Pillow and OpenCV fill the part of a picture that they cannot decode with grey, and say nothing of a
file whose middle has been overwritten; libjpeg's warnings tell, and count as errors here.
"""

from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray


def decode_jpeg(data: bytes, order: Literal["RGB", "BGR"]) -> NDArray[np.uint8]:
    """The pixels of a JPEG file, uint8 [height, width, 3], as stored (no EXIF rotation).

    Args:
        data: the file; grey or in colour, but not CMYK.
        order: of the channels.

    Raises:
        ValueError: if any part of it is damaged or missing.
    """
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, order)
    return pixels
