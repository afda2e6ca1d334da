import pytest

from detector_app.errors import SourceError
from detector_app.settings import Settings, load_settings
from spyv4.errors import ConfigError


def test_defaults_then_environment_then_command_line():
    environment = {"SPYV4_PORT": "9000", "SPYV4_SOURCE": "none", "SPYV4_READS": ""}
    settings = load_settings({"port": None, "source": "demo"}, environment)
    assert (settings.host, settings.port, settings.source) == ("127.0.0.1", 9000, "demo")
    assert settings.reads is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 70000),
        ("runtime", "magic"),
        ("reads", 0),
        ("reads", 10_000),
        ("score_threshold", 1.5),
        ("score_threshold", float("nan")),
        ("max_body_mb", 0),
        ("max_megapixels", float("nan")),
        ("queue_size", -1),
        ("max_megapixels", 100.0),
        ("max_body_mb", float("inf")),
        ("max_reads", 0),
        ("max_reads", 257),
        ("reads", 33),
        ("max_viewers", 0),
        ("max_uploads", 0),
        ("allowed_host", ("http://spikes.example",)),
        ("allowed_host", ("spikes.example:80",)),
        ("allowed_host", ("",)),
    ],
)
def test_what_is_out_of_range_is_named(name, value):
    with pytest.raises(ConfigError, match=name.replace("_", "[_ ]")):
        Settings(**{name: value})


def test_a_variable_that_is_no_number_is_named():
    with pytest.raises(ConfigError, match="SPYV4_PORT must be a number, not 'http'"):
        load_settings({}, {"SPYV4_PORT": "http"})


def test_allowed_hosts_are_separated_by_commas():
    settings = load_settings({}, {"SPYV4_ALLOWED_HOST": "spikes.example, ::2,*"})
    assert settings.allowed_host == ("spikes.example", "::2", "*")


def test_sources():
    assert Settings(source="none").open_source() is None
    assert Settings().open_source().name == "demo"
    with pytest.raises(SourceError):
        Settings(source="nowhere.mp4").open_source()
