"""Labelled pictures as files that `spyv4-train` reads, in the layouts of VOC, COCO and YOLO.

    VOC    VOC2012/{JPEGImages,Annotations}, VOC2012/ImageSets/Main/train.txt, data.toml
    COCO   images, instances.json, data.toml
    YOLO   images/train, labels/train, data.yaml

The score of a box is in VOC's <score> and COCO's "score", which other readers pass over; a YOLO
file has no room for it. What is difficult is so in VOC and `iscrowd` in COCO, and left out of YOLO.
"""

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from training.choices import LAYOUTS
from training.data.voc import to_voc_pixels
from training.labelling.labels import DECIMALS, Label, LabelledPicture

YEAR, SPLIT = "VOC2012", "train"
_SCORE_DECIMALS, _SHARE_DECIMALS = 4, 6
Put = Callable[[Path, Path], object]
Write = Callable[[Sequence[LabelledPicture], Path, Sequence[str], Put], Path]


def write_labelled(
    pictures: Sequence[LabelledPicture],
    output: Path,
    class_names: Sequence[str],
    layout: str,
    *,
    copy: bool = False,
) -> Path:
    """Write a data set.

    Args:
        pictures: what it consists of.
        output: its folder, which is made if need be.
        class_names: its classes in order.
        layout: one of `LAYOUTS`.
        copy: copy the pictures instead of linking to where they are.

    Returns:
        The data file, for `--data`.

    Raises:
        OSError: if something cannot be written.
    """
    output.mkdir(parents=True, exist_ok=True)
    return _WRITERS[layout](pictures, output, class_names, shutil.copyfile if copy else _link)


def _link(picture: Path, target: Path) -> None:
    """A symbolic link, whose end stays where it is when the folder moves."""
    target.symlink_to(picture.resolve())


def _write_voc(
    pictures: Sequence[LabelledPicture], output: Path, class_names: Sequence[str], put: Put
) -> Path:
    """Pictures of any format are called .jpg, since VOC knows no other; their content tells."""
    folder = output / YEAR
    images, annotations, sets = (
        folder / name for name in ("JPEGImages", "Annotations", "ImageSets/Main")
    )
    for path in (images, annotations, sets):
        path.mkdir(parents=True)
    for picture in pictures:
        target = images / f"{picture.name}.jpg"
        put(picture.path, target)
        tree = ET.ElementTree(_voc_xml(picture, target.name))
        tree.write(annotations / f"{picture.name}.xml", encoding="utf-8")
    names = "".join(f"{picture.name}\n" for picture in pictures)
    (sets / f"{SPLIT}.txt").write_text(names, encoding="utf-8")
    return _write_text(
        output / "data.toml",
        f'voc_root = "."\ntrain = "{YEAR}:{SPLIT}"\nclasses = {_listed(class_names)}\n',
    )


def _voc_xml(picture: LabelledPicture, file_name: str) -> ET.Element:
    """The annotation of a picture."""
    root = ET.Element("annotation")
    _add_texts(root, {"folder": YEAR, "filename": file_name})
    height, width = picture.size
    _add_texts(ET.SubElement(root, "size"), {"width": width, "height": height, "depth": 3})
    for label in picture.labels:
        node = ET.SubElement(root, "object")
        score = f"{label.score:.{_SCORE_DECIMALS}f}"
        texts = {"name": label.class_name, "difficult": int(label.difficult), "score": score}
        _add_texts(node, texts)
        corners = to_voc_pixels(np.array(label.box_xyxy)).round(DECIMALS).tolist()
        box = ET.SubElement(node, "bndbox")
        _add_texts(box, dict(zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)))
    ET.indent(root, "\t")
    return root


def _add_texts(node: ET.Element, texts: Mapping[str, object]) -> None:
    """Children that hold nothing but text."""
    for name, text in texts.items():
        ET.SubElement(node, name).text = str(text)


def _write_coco(
    pictures: Sequence[LabelledPicture], output: Path, class_names: Sequence[str], put: Put
) -> Path:
    (output / "images").mkdir()
    categories = {name: number for number, name in enumerate(class_names, 1)}
    images = []
    annotations: list[dict[str, object]] = []
    for number, picture in enumerate(pictures, 1):
        name = f"{picture.name}{picture.path.suffix}"
        put(picture.path, output / "images" / name)
        height, width = picture.size
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for label in picture.labels:
            key = {"id": len(annotations) + 1, "image_id": number}
            annotations.append(key | _coco_annotation(label, categories))
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    _write_text(output / "instances.json", json.dumps(content))
    return _write_text(
        output / "data.toml",
        f'train = {{ images = "images", annotations = "instances.json" }}\n'
        f"classes = {_listed(class_names)}\n",
    )


def _coco_annotation(label: Label, categories: Mapping[str, int]) -> dict[str, object]:
    """The annotation of a box."""
    left, top, right, bottom = label.box_xyxy
    width, height = round(right - left, DECIMALS), round(bottom - top, DECIMALS)
    return {
        "category_id": categories[label.class_name],
        "bbox": [left, top, width, height],
        "area": round(width * height, DECIMALS),
        "iscrowd": int(label.difficult),
        "score": round(label.score, _SCORE_DECIMALS),
    }


def _write_yolo(
    pictures: Sequence[LabelledPicture], output: Path, class_names: Sequence[str], put: Put
) -> Path:
    images, texts = output / "images" / SPLIT, output / "labels" / SPLIT
    images.mkdir(parents=True)
    texts.mkdir(parents=True)
    indices = {name: index for index, name in enumerate(class_names)}
    for picture in pictures:
        put(picture.path, images / f"{picture.name}{picture.path.suffix}")
        height, width = picture.size
        lines = []
        for label in picture.labels:
            left, top, right, bottom = label.box_xyxy
            centre = ((left + right) / 2 / width, (top + bottom) / 2 / height)
            shares = (*centre, (right - left) / width, (bottom - top) / height)
            numbers = " ".join(f"{share:.{_SHARE_DECIMALS}f}" for share in shares)
            if not label.difficult:
                lines.append(f"{indices[label.class_name]} {numbers}\n")
        _write_text(texts / f"{picture.name}.txt", "".join(lines))
    return _write_text(
        output / "data.yaml",
        f"# val is missing: no boxes to evaluate on\ntrain: images/{SPLIT}\n"
        f"names: {_listed(class_names)}\n",
    )


def _listed(names: Sequence[str]) -> str:
    """As TOML and YAML, of which JSON's lists are part."""
    return json.dumps(list(names), ensure_ascii=False)


def _write_text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


_WRITERS: Mapping[str, Write] = dict(
    zip(LAYOUTS, (_write_voc, _write_coco, _write_yolo), strict=True)
)
"""By the name in `--format`."""
