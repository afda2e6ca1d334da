"""SPYv4: a real-time spiking object detector.

```python
from spyv4 import Detector

result = Detector.load().detect("dog.jpg", reads=4)
```

What the package offers is imported when it is first asked for, so that commands answer `--help`
and find mistakes in their options before torch is loaded.
"""

import importlib
from typing import TYPE_CHECKING, Any

import spyv4.threads  # noqa: F401 - first: it settles how torch's threads wait

if TYPE_CHECKING:
    from spyv4.config import VOC_CLASSES, ModelConfig, NeuronConfig, model_preset
    from spyv4.detector import Detector
    from spyv4.errors import SPYv4Error
    from spyv4.network.spyv4 import SPYv4
    from spyv4.network.table import LAYER_NAMES
    from spyv4.options import ReadOptions
    from spyv4.spikes import SpikeRecord, load_spikes
    from spyv4.types import Detections
    from spyv4.weights import shipped_weights

__all__ = [
    "LAYER_NAMES",
    "VOC_CLASSES",
    "Detections",
    "Detector",
    "ModelConfig",
    "NeuronConfig",
    "ReadOptions",
    "SPYv4",
    "SPYv4Error",
    "SpikeRecord",
    "__version__",
    "load_spikes",
    "model_preset",
    "shipped_weights",
]

__version__ = "0.1.0"

_MODULES = {
    "LAYER_NAMES": "spyv4.network.table",
    "VOC_CLASSES": "spyv4.config",
    "Detections": "spyv4.types",
    "Detector": "spyv4.detector",
    "ModelConfig": "spyv4.config",
    "NeuronConfig": "spyv4.config",
    "ReadOptions": "spyv4.options",
    "SPYv4": "spyv4.network.spyv4",
    "SPYv4Error": "spyv4.errors",
    "SpikeRecord": "spyv4.spikes",
    "load_spikes": "spyv4.spikes",
    "model_preset": "spyv4.config",
    "shipped_weights": "spyv4.weights",
}
"""Where each name is, for `__getattr__`; the imports above say the same to type checkers."""


def __getattr__(name: str) -> Any:
    """Import what is asked for the first time (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All names, imported or not."""
    return sorted({*globals(), *__all__})
