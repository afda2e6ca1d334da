"""SPYv4: a real-time spiking object detector.

```python
from spyv4 import Detector

result = Detector.load().detect("dog.jpg", reads=4)
```
"""

import spyv4.threads  # noqa: F401 - first: it settles how torch's threads wait
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
