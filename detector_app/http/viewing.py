"""What a client of the live page sets for itself, and what it is told of the network at first."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from detector_app.annotate import shallow_and_deep
from detector_app.http.schemas import check_parameters, settings_of
from detector_app.settings import Settings
from spyv4 import Detector, ReadOptions, __version__
from spyv4.drawing import colour_hex
from spyv4.energy import ACCUMULATE_PJ, MULTIPLY_ACCUMULATE_PJ, compare
from spyv4.errors import ArgumentError


def viewing_options(
    message: Mapping[str, Any], options: ReadOptions, detector: Detector, max_reads: int
) -> ReadOptions:
    """`options` with what a message sets: the parameters of `/detect`, and two more.

    These are `carry_state` (true or false) and `heat_layer` (the name of a layer, or null).

    Raises:
        ArgumentError: where a value is out of range; the message names it.
    """
    checked = check_parameters(message, options, max_reads, detector.config.class_names)
    carried = message.get("carry_state", options.carry_state)
    if not isinstance(carried, bool):
        raise ArgumentError(f"carry_state: must be true or false, not {str(carried)[:40]!r}")
    heat = options.heat_layers
    if "heat_layer" in message:
        layer = message["heat_layer"]
        if layer is not None and layer not in detector.layer_names:
            raise ArgumentError(f"heat_layer: there is no layer {str(layer)[:40]!r}")
        heat = () if layer is None else (layer,)
    return replace(checked.options(options), carry_state=carried, heat_layers=heat)


def viewing_settings(options: ReadOptions) -> dict[str, Any]:
    """The same as a message says them."""
    heat = options.heat_layers
    more = {"carry_state": options.carry_state, "heat_layer": heat[0] if heat else None}
    return settings_of(options) | more


def hello(
    detector: Detector, settings: Settings, options: ReadOptions, sources: list[str]
) -> dict[str, Any]:
    """The first message."""
    config, layers = detector.config, detector.layer_names
    nothing = np.zeros((1, len(layers)))
    twin = compare(config, detector.image_size, nothing, nothing).twin
    return {
        "type": "hello",
        "version": __version__,
        "model": config.name,
        "runtime": detector.runtime.description,
        "image_size": detector.image_size,
        "layers": layers,
        "shown_layers": shallow_and_deep(layers),
        "classes": [
            {"name": name, "colour": colour_hex(index)}
            for index, name in enumerate(config.class_names)
        ],
        "sources": sources,
        "max_reads": settings.max_reads,
        "max_body_bytes": settings.max_body_bytes,
        "settings": viewing_settings(options),
        "energy": {
            "twin_multiply_accumulates": twin.multiply_accumulates,
            "twin_energy_mj": twin.energy_mj,
            "accumulate_pj": ACCUMULATE_PJ,
            "multiply_accumulate_pj": MULTIPLY_ACCUMULATE_PJ,
        },
    }
