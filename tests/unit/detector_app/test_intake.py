import asyncio
import threading

import cv2
import numpy as np
import pytest

from detector_app import intake
from detector_app.errors import PipelineClosingError
from detector_app.intake import Intake
from detector_app.pipeline import Pipeline
from spyv4 import ReadOptions
from spyv4.errors import ImageError

OPTIONS = ReadOptions(1, 0.5)
IMAGE = np.full((48, 64, 3), 90, np.uint8)
DATA = cv2.imencode(".png", IMAGE)[1].tobytes()
PIXELS = 48 * 64


@pytest.fixture
def decoded(monkeypatch):
    """Grows with every picture that is decoded."""
    decode, count = intake.read_image, []

    def counted(data):
        count.append(1)
        return decode(data)

    monkeypatch.setattr(intake, "read_image", counted)
    monkeypatch.setattr(intake, "PIXELS_IN_FLIGHT", 2 * PIXELS)
    return count


@pytest.fixture
def pipeline(detector):
    made = Pipeline(detector)
    made.start()
    yield made
    made.stop()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def test_decoded_pictures_that_wait_count_too(pipeline, decoded):
    """Two fit; more are decoded only as those are done, leave, or turn out to be damaged."""
    started, release = threading.Event(), threading.Event()

    def hold(_detections):
        started.set()
        release.wait(20)

    async def run():
        pictures, let_go = Intake(pipeline, PIXELS), []

        async def look(data=DATA):
            return await pictures.look(data, OPTIONS, release=lambda: let_go.append(data))

        held = pipeline.submit(IMAGE, OPTIONS, hold)
        await until(started.is_set)
        looks = [asyncio.create_task(look()) for _ in range(5)]
        await until(lambda: len(pipeline.jobs) == 2)
        gone = looks.pop(0)
        gone.cancel()
        await until(lambda: len(decoded) == 3 and len(pipeline.jobs) == 2)
        release.set()
        assert all(result.detections.reads == 1 for result in await asyncio.gather(*looks))
        held.result(10)
        for _ in range(5):
            with pytest.raises(ImageError, match="cut short"):
                await look(DATA[:-30])
        assert (await look()).detections.reads == 1
        assert let_go == 6 * [DATA]  # all that were decoded
        pictures.close()

    asyncio.run(run())


def test_a_picture_that_is_refused_makes_room(pipeline, decoded):
    """Two fit; were the room of refused ones kept, the third would be waited for for ever."""

    async def run():
        pictures = Intake(pipeline, PIXELS)
        pipeline.stop()
        for _ in range(3):
            async with asyncio.timeout(10):
                with pytest.raises(PipelineClosingError):
                    await pictures.look(DATA, OPTIONS, release=lambda: None)
        pictures.close()

    asyncio.run(run())


def test_pictures_that_come_back_drawn_make_room_too(pipeline, decoded):
    """Two fit; were the room of one kept, the last would be waited for for ever."""

    async def run():
        pictures = Intake(pipeline, PIXELS)
        for _ in range(5):
            async with asyncio.timeout(10):
                looked = await pictures.look(DATA, OPTIONS, release=lambda: None, annotated=True)
            assert looked.jpeg.startswith(b"\xff\xd8")
        pictures.close()

    asyncio.run(run())
