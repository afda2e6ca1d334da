"""What options may be, and what they are where nobody says, for parsers and for what computes.

Nothing heavy is imported, so that `--help` does not wait for what computes.
"""

from typing import Final, Literal

MAX_READS = 256
AUTO: Final = "auto"
Reads = int | Literal["auto"]
"""How often to look, or as often as it takes."""
SPYV4, SPYV4_NANO = MODEL_NAMES = "spyv4", "spyv4-nano"
"""The networks of `spyv4.config.MODEL_PRESETS`."""

RuntimeName = Literal["auto", "torch", "onnx"]
Exact = Literal["float32", "bfloat16", "int8"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]

IOU_THRESHOLD = 0.3
AGREE_IOU, AGREE_SCORE, AGREE_MARGIN, AUTO_READS = 0.7, 0.2, 0.2, 8
"""Of `ReadOptions`, which says what they mean; the last is its `max_reads`."""
