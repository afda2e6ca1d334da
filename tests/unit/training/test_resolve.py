"""The configuration of a run from what is said."""

import pytest

from spyv4.errors import ConfigError
from spyv4.validation import to_mapping
from training.commands.train import train_parser
from training.config import TrainingConfig
from training.resolve import resolve_config

NANO = ("--recipe", "nano")
CHANGED = ("--resume", "--allow-config-change")


def resolved(*more: str, saved: TrainingConfig | None = None) -> TrainingConfig:
    arguments = train_parser().parse_args(["--voc-root", ".", *more])
    return resolve_config(arguments, None if saved is None else to_mapping(saved))


def test_mosaics_close_before_the_end_of_a_longer_run_too(caplog: pytest.LogCaptureFixture) -> None:
    saved = resolved(*NANO, "--epochs", "10", "--close-mosaic", "3")
    assert saved.augmentation.mosaic_epochs == 7
    longer = resolved(*NANO, "--epochs", "20", "--close-mosaic", "3", *CHANGED, saved=saved)
    assert longer.augmentation.mosaic_epochs == 17
    assert "augmentation.mosaic_epochs 17 instead of 7" in caplog.text
    untouched = resolved("--epochs", "20", *CHANGED, saved=saved)
    assert untouched.augmentation.mosaic_epochs == 7


QUANTISED = ("--twin", "--set", 'model.neuron.kind="quantised-relu"')


@pytest.mark.parametrize(
    "more", [(), ("--twin",), QUANTISED, ("--epochs", "7", "--precision", "auto")]
)
def test_the_same_command_resumes_and_so_does_one_that_says_nothing(more: tuple[str, ...]) -> None:
    saved = resolved(*NANO, *more)
    assert resolved(*NANO, *more, "--resume", saved=saved) == saved
    assert resolved("--resume", saved=saved) == saved


def test_other_settings_are_listed_and_refused_unless_allowed() -> None:
    saved = resolved(*NANO)
    other = ("--resume", "--epochs", "7", "--learning-rate", "0.5")
    listed = (
        r"now there are epochs 7 instead of 25, optimizer.learning_rate 0.5 instead of 0.001; "
        r".* --allow-config-change"
    )
    with pytest.raises(ConfigError, match=listed):
        resolved(*other, saved=saved)
    assert resolved(*other, "--allow-config-change", saved=saved).epochs == 7
    with pytest.raises(ConfigError, match=r"epochs 300 instead of 25"):  # another recipe
        resolved("--recipe", "paper", "--resume", saved=saved)
    with pytest.raises(ConfigError, match="keeps its network"):
        resolved(*NANO, "--twin", *CHANGED, saved=saved)
