"""Sent pictures: how many are decoded at a time, how many may wait, and what they leave behind."""

import asyncio
import gc
import threading
import weakref

import cv2
import numpy as np
import pytest

from detector_app.errors import ServerBusyError, ServerClosingError
from detector_app.http import intake
from detector_app.http.intake import Intake, Room
from spyv4 import ReadOptions
from spyv4.errors import ImageError
from tests.unit.detector_app.running import hold

OPTIONS = ReadOptions(1, 0.5)
IMAGE = np.full((48, 64, 3), 90, np.uint8)
DATA = cv2.imencode(".png", IMAGE)[1].tobytes()
PIXELS = 48 * 64
ROOM = Room(pictures=4, reads=20, pixels=PIXELS)


@pytest.fixture
def decoding(monkeypatch):
    """Pictures that are being decoded wait for the event; the list holds weak references to all."""
    decode, images, go_on = intake.read_image, [], threading.Event()

    def counted(data):
        image = decode(data)
        images.append(weakref.ref(image))
        go_on.wait(20)
        return image

    monkeypatch.setattr(intake, "read_image", counted)
    monkeypatch.setattr(intake, "PIXELS_IN_FLIGHT", 2 * PIXELS)
    monkeypatch.setattr(intake, "DECODERS", 8)
    return images, go_on


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def taking(scheduler, test):
    """Run `test`, a coroutine function that takes an intake."""

    async def run():
        pictures = Intake(scheduler, ROOM)
        try:
            await test(pictures)
        finally:
            pictures.stop()

    asyncio.run(run())


def look(pictures, data=DATA, options=OPTIONS, **more):
    return asyncio.create_task(pictures.look(data, options, release=lambda: None, **more))


def test_few_are_decoded_at_a_time(scheduler, decoding):
    """Two fit; more come as those are done or leave, and no picture is kept after that."""
    images, go_on = decoding

    async def test(pictures):
        _, held, release = hold(scheduler)
        looks = [look(pictures) for _ in range(3)]
        await until(lambda: len(images) == 2)
        await asyncio.sleep(0.1)
        assert len(images) == 2
        looks.pop(0).cancel()
        go_on.set()
        await until(lambda: pictures.waiting == 2)
        gc.disable()
        try:
            await until(lambda: all(image() is None for image in images))
        finally:
            gc.enable()
        release.set()
        results = await asyncio.gather(*looks)
        assert [result.detections.reads for result in results] == [1, 1]
        held.result(10)
        assert (pictures.waiting, pictures.owed, pictures.done) == (0, 0, 2)

    taking(scheduler, test)


def test_a_damaged_picture_makes_room(scheduler, decoding):
    """Two fit; were the room of damaged ones kept, the last would be waited for for ever."""
    decoding[1].set()

    async def test(pictures):
        for _ in range(5):
            with pytest.raises(ImageError, match="cut short"):
                await look(pictures, DATA[:-30])
        assert (await look(pictures)).detections.reads == 1

    taking(scheduler, test)


def test_pictures_that_come_back_drawn_make_room_too(scheduler, decoding):
    """Two fit; were the room of one kept, the last would be waited for for ever."""
    decoding[1].set()

    async def test(pictures):
        for _ in range(5):
            looked = await look(pictures, annotated=True)
            assert looked.jpeg.startswith(b"\xff\xd8")

    taking(scheduler, test)


@pytest.mark.parametrize(
    ("reads", "said"), [((1, 1, 1, 1), "4 pictures wait"), ((9, 9), "18 reads wait")]
)
def test_what_may_wait_is_counted_in_pictures_and_in_reads(scheduler, reads, said):
    async def test(pictures):
        _, held, release = hold(scheduler)
        looks = [look(pictures, options=ReadOptions(count, 0.5)) for count in reads]
        await until(lambda: pictures.waiting == len(reads))
        with pytest.raises(ServerBusyError, match=said) as busy:
            pictures.require_room(3)
        assert busy.value.retry_after_s >= 1
        with pytest.raises(ServerBusyError, match=said):
            await look(pictures, options=ReadOptions(3, 0.5))
        release.set()
        results = await asyncio.gather(*looks)
        assert tuple(result.detections.reads for result in results) == reads
        held.result(10)
        pictures.require_room(3)

    taking(scheduler, test)


def test_auto_counts_as_the_most_reads_there_may_be(scheduler):
    async def test(pictures):
        _, held, release = hold(scheduler)
        auto = ReadOptions("auto", 1.0, max_reads=9)
        told = []
        looks = [look(pictures, options=auto, on_read=lambda *read: told.append(read))]
        looks.append(look(pictures, options=auto))
        await until(lambda: pictures.owed == 18)
        with pytest.raises(ServerBusyError, match="18 reads wait"):
            await look(pictures, options=auto)
        release.set()
        assert [(await looked).detections.reads for looked in looks] == [2, 2]
        assert [(found.reads, last) for found, last in told] == [(1, False), (2, True)]
        assert pictures.owed == 0
        held.result(10)

    taking(scheduler, test)


def test_one_of_very_many_reads_is_taken_where_nothing_else_waits(scheduler):
    async def test(pictures):
        assert (await look(pictures, options=ReadOptions(30, 0.5))).detections.reads == 30

    taking(scheduler, test)


def test_who_leaves_gives_up_place_and_reads(scheduler):
    async def test(pictures):
        _, held, release = hold(scheduler)
        gone = look(pictures, options=ReadOptions(15, 0.5))
        await until(lambda: pictures.owed == 15)
        gone.cancel()
        await until(lambda: pictures.waiting == 0)
        release.set()
        held.result(10)

    taking(scheduler, test)


def test_what_is_on_its_way_is_looked_at_until_there_is_no_more_time(scheduler):
    async def test(pictures):
        _, held, release = hold(scheduler)
        first = look(pictures)
        await until(lambda: pictures.waiting == 1)
        pictures.close()
        with pytest.raises(ServerClosingError, match="is ending"):
            pictures.require_room()
        second = look(pictures)
        await until(lambda: pictures.waiting == 2)
        pictures.refuse()
        for waiting in (first, second, look(pictures)):
            with pytest.raises(ServerClosingError):
                await waiting
        release.set()
        held.result(10)

    taking(scheduler, test)
