"""What options of the training commands may be, and what they are where nobody says.

Nothing is imported, so that `--help` does not wait for what computes.
"""

VOC_TRAIN, VOC_EVAL = "VOC2007:trainval,VOC2012:trainval", "VOC2007:test"
DEFAULT_RECIPE = "paper"
RECIPES = ("paper", "released", "nano", "finetune")

EVALUATED_READS = (1, 2, 4, 8)
EVALUATION_SCORE, EVALUATION_IOU, EVALUATION_DETECTIONS = 0.001, 0.5, 1000
"""Average precision counts the uncertain boxes too, so that these are far more than are shown."""
MEANING = (
    "IoU of at least 0.5 as the Pascal VOC devkit measures it, difficult boxes ignored;\n"
    "mAP over the classes with at least one box that is not difficult"
)

LAYOUTS = ("voc", "coco", "yolo")
"""Of the annotations that `spyv4-label` writes."""
ALL_CLASSES = "all"
