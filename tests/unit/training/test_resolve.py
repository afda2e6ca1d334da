"""The configuration of a run from what is said."""

import pytest

from spyv4.validation import to_mapping
from training.arguments import train_parser
from training.config import TrainingConfig
from training.resolve import resolve_config


def resolved(*more: str, saved: TrainingConfig | None = None) -> TrainingConfig:
    arguments = train_parser().parse_args(["--voc-root", ".", "--recipe", "nano", *more])
    return resolve_config(arguments, None if saved is None else to_mapping(saved))


def test_mosaics_close_before_the_end_of_a_longer_run_too(caplog: pytest.LogCaptureFixture) -> None:
    saved = resolved("--epochs", "10", "--close-mosaic", "3")
    assert saved.augmentation.mosaic_epochs == 7
    longer = resolved("--epochs", "20", "--close-mosaic", "3", "--resume", saved=saved)
    assert longer.augmentation.mosaic_epochs == 17
    assert "augmentation.mosaic_epochs is 17 instead of 7" in caplog.text
    untouched = resolved("--epochs", "20", "--resume", saved=saved)
    assert untouched.augmentation.mosaic_epochs == 7
