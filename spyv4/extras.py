"""The optional parts of the installation, and what is said where one is missing."""

import importlib.util
from collections.abc import Mapping

from spyv4.errors import RuntimeUnavailableError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "app": ("fastapi", "httpx", "python_multipart", "skimage", "uvicorn"),
    "events": ("faery",),
    "nir": ("nir",),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "parquet": ("pyarrow",),
    "ray": ("pyarrow", "ray"),
    "track": ("supervision", "trackers"),
    "train": (
        "albumentations",
        "jinja2",
        "matplotlib",
        "pycocotools",
        "tensorboard",
        "tqdm",
        "yaml",
    ),
}
"""The packages that each extra of pyproject.toml brings, by the names they are imported by."""


def require_extra(extra: str, purpose: str) -> None:
    """Check that an extra is installed.

    Args:
        extra: one of `EXTRAS`.
        purpose: what needs it, as a plural noun.

    Raises:
        RuntimeUnavailableError: if a package of it cannot be found; says what to install.
    """
    missing = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeUnavailableError(
            f"{' and '.join(missing)} cannot be found; {purpose} need pip install 'spyv4[{extra}]'"
        )
