import pytest

from detector_app.errors import SourceError
from detector_app.settings import Settings, load_settings
from spyv4.config import model_preset
from spyv4.errors import ArgumentError, ConfigError


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
        ("api_key", "short"),
        ("api_key", "with a blank in the middle"),
        ("api_key", "with;what-cookies-cannot-hold"),
    ],
)
def test_what_is_out_of_range_is_named(name, value):
    with pytest.raises(ConfigError, match=name.replace("_", "[_ ]")):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("PORT", "http", "SPYV4_PORT must be a valid integer, not 'http'"),
        ("MAX_BODY_MB", "2,5", "SPYV4_MAX_BODY_MB must be a valid number, not '2,5'"),
        ("COMPILE", "maybe", "SPYV4_COMPILE must be a valid boolean, not 'maybe'"),
        ("RUNTIME", "magic", "SPYV4_RUNTIME must be 'auto', 'torch' or 'onnx', not 'magic'"),
        ("PORT", "70000", "port must be at most 65535, not 70000"),
        ("SCORE_THRESHOLD", "nan", "score_threshold must be a finite number, not nan"),
    ],
)
def test_a_variable_that_is_wrong_is_named(variable, text, message):
    with pytest.raises(ConfigError) as wrong:
        load_settings({}, {f"SPYV4_{variable}": text})
    assert str(wrong.value) == message


def test_text_becomes_what_the_setting_is():
    settings = load_settings(
        {},
        {"SPYV4_SOURCE": "0", "SPYV4_COMPILE": "1", "SPYV4_READS": "3", "SPYV4_MAX_BODY_MB": "2"},
    )
    assert (settings.source, settings.compile, settings.reads) == ("0", True, 3)
    assert settings.max_body_bytes == 2_000_000


def test_options_of_a_command_that_are_no_settings_are_passed_over():
    settings = load_settings({"allowed_host": ["a.example"], "view": "window"}, {})
    assert settings == Settings(allowed_host=("a.example",))


def test_allowed_hosts_are_separated_by_commas():
    settings = load_settings({}, {"SPYV4_ALLOWED_HOST": "spikes.example, ::2,*"})
    assert settings.allowed_host == ("spikes.example", "::2", "*")


def test_sources():
    assert Settings(source="none").open_source() is None
    assert Settings().open_source().name == "demo"
    with pytest.raises(SourceError):
        Settings(source="nowhere.mp4").open_source()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "spikes.example"])
def test_strangers_are_let_in_only_when_told(host):
    with pytest.raises(ConfigError, match=r"SPYV4_API_KEY or --api-key-file.*--insecure"):
        Settings(host=host).require_guard()
    Settings(host=host, insecure=True).require_guard()
    Settings(host=host, api_key="a-key-of-sixteen-or-more").require_guard()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "[::1]"])
def test_this_machine_needs_no_key(host):
    Settings(host=host).require_guard()


def test_what_is_looked_for_is_a_setting():
    settings = load_settings({"agnostic_nms": True}, {"SPYV4_CLASSES": "cat, dog"})
    options = settings.read_options(model_preset("spyv4-nano"))
    assert (options.classes, options.agnostic_nms) == (("cat", "dog"), True)
    assert settings.sent_options(model_preset("spyv4-nano")).classes == ("cat", "dog")
    with pytest.raises(ArgumentError, match="unknown class 'lion'"):
        Settings(classes=("lion",)).read_options(model_preset("spyv4-nano"))
