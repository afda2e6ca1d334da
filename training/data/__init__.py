"""Pictures and boxes: reading, augmenting and batching them."""

from training.data.batches import Batch
from training.data.loader import LoaderOptions, TrainingLoader
from training.data.objects import UNSURE, training_objects
from training.data.source import DataSource, open_source
from training.data.voc import AnnotatedImage, ObjectAnnotation, parse_image_sets, read_split

__all__ = [
    "UNSURE",
    "AnnotatedImage",
    "Batch",
    "DataSource",
    "LoaderOptions",
    "ObjectAnnotation",
    "TrainingLoader",
    "open_source",
    "parse_image_sets",
    "read_split",
    "training_objects",
]
