"""A VOC set written anew as COCO's JSON and as Ultralytics' YOLO, with arithmetic of its own."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from training.data import AnnotatedImage


def write_coco(images: Sequence[AnnotatedImage], file: Path, class_names: Sequence[str]) -> Path:
    """An instances file of `images`, whose pictures stay where they are; the ids have gaps."""
    numbers = {name: 3 * index + 5 for index, name in enumerate(class_names)}
    annotations = []
    for number, image in enumerate(images):
        for item in image.objects:
            xmin, ymin, xmax, ymax = item.box_xyxy
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 7 * number + 2,
                    "category_id": numbers[item.class_name],
                    "bbox": [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1],
                    "iscrowd": int(item.difficult),
                }
            )
    content = {
        "images": [
            {
                "id": 7 * number + 2,
                "file_name": image.image_path.name,
                "height": image.size[0],
                "width": image.size[1],
            }
            for number, image in enumerate(images)
        ],
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
        "annotations": annotations,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def write_coco_data(
    images: Sequence[AnnotatedImage], root: Path, class_names: Sequence[str]
) -> Path:
    """A data file in TOML whose train and val are both `images`."""
    write_coco(images, root / "instances.json", class_names)
    entry = f'{{images = "{images[0].image_path.parent}", annotations = "instances.json"}}'
    file = root / "coco.toml"
    file.write_text(f"train = {entry}\nval = {entry}\n")
    return file


def write_yolo(
    images: Sequence[AnnotatedImage], root: Path, class_names: Sequence[str], split: str = "train"
) -> Path:
    """Copies and labels below `root`; what is difficult is left out, since YOLO has no such thing.

    Returns:
        The `data.yaml`, whose train and val are both `split`.
    """
    for name in ("images", "labels"):
        (root / name / split).mkdir(parents=True, exist_ok=True)
    for image in images:
        height, width = image.size
        shutil.copyfile(image.image_path, root / "images" / split / image.image_path.name)
        lines = []
        for item in image.objects:
            xmin, ymin, xmax, ymax = item.box_xyxy
            numbers = (
                (xmin - 1 + xmax) / 2 / width,
                (ymin - 1 + ymax) / 2 / height,
                (xmax - xmin + 1) / width,
                (ymax - ymin + 1) / height,
            )
            if not item.difficult:
                index = class_names.index(item.class_name)
                lines.append(" ".join([str(index), *map(repr, numbers)]))
        if lines:
            (root / "labels" / split / f"{image.image_id}.txt").write_text("\n".join(lines) + "\n")
    file = root / "data.yaml"
    file.write_text(
        f"train: images/{split}\nval: images/{split}\nnc: {len(class_names)}\n"
        f"names: {json.dumps(list(class_names))}\n"
    )
    return file
