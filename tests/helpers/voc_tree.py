"""Small Pascal VOC trees with pictures drawn here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

COLOURS = {
    "cat": (255, 0, 0),
    "dog": (0, 255, 0),
    "bus": (0, 0, 255),
    "car": (255, 255, 0),
}
CLASS_NAMES = tuple(COLOURS)
BACKGROUND = 114


@dataclass(frozen=True)
class Thing:
    """A coloured rectangle: box as in VOC, pixels from 1, both ends inclusive."""

    class_name: str
    box: tuple[float, float, float, float]
    difficult: bool = False


@dataclass(frozen=True)
class Scene:
    """A picture of (height, width) with rectangles on it."""

    size: tuple[int, int] = (90, 120)
    things: tuple[Thing, ...] = (Thing("cat", (21, 11, 80, 70)),)


def draw_scene(scene: Scene) -> NDArray[np.uint8]:
    """The picture, uint8 [height, width, 3] RGB."""
    image = np.full((*scene.size, 3), BACKGROUND, np.uint8)
    for thing in scene.things:
        xmin, ymin, xmax, ymax = (round(x) for x in thing.box)
        image[ymin - 1 : ymax, xmin - 1 : xmax] = COLOURS.get(thing.class_name, (255, 0, 255))
    return image


def scene_xml(scene: Scene) -> str:
    """The annotation of a scene."""
    objects = "".join(
        f"<object><name>{thing.class_name}</name><difficult>{int(thing.difficult)}</difficult>"
        "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
        "</object>".format(*thing.box)
        for thing in scene.things
    )
    height, width = scene.size
    return (
        f"<annotation><size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        f"{objects}</annotation>"
    )


def write_voc_tree(
    root: Path,
    scenes: Mapping[str, Scene] | Sequence[Scene],
    year: str = "VOC2012",
    split: str = "train",
) -> Path:
    """Write `scenes` below `root`/`year` and list them in `split`; returns the year's folder."""
    if not isinstance(scenes, Mapping):
        scenes = {f"{index:06d}": scene for index, scene in enumerate(scenes)}
    folder = root / year
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for image_id, scene in scenes.items():
        cv2.imwrite(
            str(folder / "JPEGImages" / f"{image_id}.jpg"),
            cv2.cvtColor(draw_scene(scene), cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, 100],
        )
        (folder / "Annotations" / f"{image_id}.xml").write_text(scene_xml(scene))
    (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(scenes) + "\n")
    return folder
