import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from detector_app.errors import PayloadTooLargeError
from detector_app.http.uploads import count_pixels
from spyv4.errors import ImageError


def encoded(kind="JPEG", size=(64, 48)):
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def huge_png(side):
    """A PNG whose header alone claims `side` x `side` pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
def test_the_header_tells_the_size(kind):
    assert count_pixels(encoded(kind), 10_000) == 64 * 48


@pytest.mark.parametrize("data", [b"hello", b"\xff\xd8\xff", b"%PDF-1.7", bytes(1000)])
def test_what_is_no_picture(data):
    with pytest.raises(ImageError, match="not a picture"):
        count_pixels(data, 10_000)


@pytest.mark.parametrize("side", [5_000, 30_000])
def test_the_header_alone_refuses_a_huge_picture(side):
    with pytest.raises(PayloadTooLargeError, match="million pixels"):
        count_pixels(huge_png(side), 20_000_000)
