"""What `import spyv4` offers, and that it waits with the heavy part."""

import subprocess
import sys

import pytest

import spyv4
from spyv4.choices import MODEL_NAMES
from spyv4.config import MODEL_PRESETS


def test_the_package_alone_loads_nothing_that_computes():
    code = (
        "import os, sys; os.environ.pop('OMP_WAIT_POLICY', None); import spyv4; "
        "print([m for m in ('torch', 'numpy', 'cv2', 'pydantic') if m in sys.modules], "
        "os.environ['OMP_WAIT_POLICY'], 'Detector' in dir(spyv4), spyv4.Detector.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "PASSIVE", "True", "Detector"]


def test_every_name_is_there():
    assert set(spyv4.__all__) <= set(dir(spyv4))
    for name in spyv4.__all__:
        assert getattr(spyv4, name) is not None
    assert set(spyv4._MODULES) == set(spyv4.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'spyv4' has no attribute 'Detectro'"):
        spyv4.Detectro  # noqa: B018


def test_the_names_of_models_are_those_of_the_presets():
    assert tuple(MODEL_PRESETS) == MODEL_NAMES


def test_a_detector_looks_without_the_compiler_of_torch():
    code = (
        "import sys, numpy; from spyv4 import Detector; "
        "Detector.load().detect(numpy.zeros((64, 64, 3), numpy.uint8), 2, activity=True); "
        "print([m for m in ('torch._dynamo', 'torch._inductor', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
