import pytest

from detector_app.errors import SourceError
from detector_app.settings import Settings, load_settings
from spyv4.config import model_preset
from spyv4.errors import ArgumentError, ConfigError


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch):
    monkeypatch.delenv("SPYV4_COMPILE")  # which all tests have


@pytest.fixture
def say(monkeypatch):
    """Set variables of the environment."""

    def setting(**variables):
        for name, text in variables.items():
            monkeypatch.setenv(f"SPYV4_{name}", text)

    return setting


@pytest.fixture
def file(tmp_path):
    """Write a file of settings."""

    def writing(text):
        path = tmp_path / "spyv4.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return writing


def test_defaults_then_file_then_environment_then_command_line(say, file):
    say(PORT="9000", SOURCE="none", READS="")
    path = file('port = 9001\nsource = "0"\nreads = 5\nmax_body_mb = 2\nclasses = ["cat", "dog"]')
    settings = load_settings({"port": None, "source": "demo", "config": path})
    assert (settings.host, settings.port, settings.source) == ("127.0.0.1", 9000, "demo")
    assert (settings.reads, settings.max_body_mb, settings.classes) == (5, 2.0, ("cat", "dog"))
    assert load_settings({}).reads is None


def test_auto_is_told_as_a_number_is_and_keeps_the_limit(say, file, detector):
    model = detector.config
    for settings in (
        load_settings({"reads": "auto"}),
        load_settings({"config": file('reads = "auto"')}),
    ):
        assert settings.read_options(model).reads == "auto"
    say(READS="auto", AGREE_IOU="0.3", AUTO_READS="12", MAX_READS="10")
    options = load_settings({}).read_options(model)
    assert options.reads == "auto"
    assert (options.agree_iou, options.most_reads(model)) == (0.3, 10)


def test_a_variable_names_the_file_unless_an_option_does(say, file, tmp_path):
    (tmp_path / "other.toml").write_text("port = 1")
    say(CONFIG=str(tmp_path / "other.toml"))
    assert load_settings({}).port == 1
    assert load_settings({"config": file("port = 2")}).port == 2


def test_what_is_usual_in_a_command_is_so_where_nothing_is_said(say, file):
    assert load_settings({}, source="0").source == "0"
    assert load_settings({"config": file('source = "none"')}, source="0").source == "none"
    say(SOURCE="clip.mp4")
    assert load_settings({}, source="0").source == "clip.mp4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 9000", "unknown configuration key 'prot'; did you mean 'port'?"),
        ("port = 70000", r"port in .*spyv4\.toml must be at most 65535, not 70000"),
        ('port = "9000"', r"port in .*spyv4\.toml must be a valid integer, not '9000'"),
        ("compile = 1", r"compile in .*spyv4\.toml must be a valid boolean, not 1"),
        ('classes = "cat"', r"classes in .*spyv4\.toml must be a valid array, not 'cat'"),
        ("reads = 40", "reads must be at most 32, not 40"),
        ('reads = "often"', "must be a whole number of at least 1, or 'auto', not 'often'"),
        ("port =", r"spyv4\.toml is not valid TOML: "),
    ],
)
def test_a_file_that_is_wrong_is_named(file, text, message):
    with pytest.raises(ConfigError, match=message):
        load_settings({"config": file(text)})


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--config and SPYV4_CONFIG must name .*nowhere\.toml"):
        load_settings({"config": str(tmp_path / "nowhere.toml")})
    with pytest.raises(ConfigError, match="must name a TOML file"):
        load_settings({"config": str(tmp_path)})


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
        ("PORT", "70000", "SPYV4_PORT must be at most 65535, not 70000"),
        ("SCORE_THRESHOLD", "nan", "SPYV4_SCORE_THRESHOLD must be a finite number, not nan"),
        ("READS", "999", "SPYV4_READS must be at most 256, not 999"),
        ("START_SEED", "-1", "SPYV4_START_SEED must be at least 0, not -1"),
    ],
)
def test_a_variable_that_is_wrong_is_named(say, variable, text, message):
    say(**{variable: text})
    with pytest.raises(ConfigError) as wrong:
        load_settings({})
    assert str(wrong.value) == message


def test_an_option_that_is_wrong_is_named_where_a_variable_says_something_else(say):
    say(PORT="9000")
    with pytest.raises(ConfigError, match=r"^port must be at most 65535, not 70000$"):
        load_settings({"port": 70000})


def test_text_becomes_what_the_setting_is(say):
    say(SOURCE="0", COMPILE="1", READS="3", MAX_BODY_MB="2")
    settings = load_settings({})
    assert (settings.source, settings.compile, settings.reads) == ("0", True, 3)
    assert settings.max_body_bytes == 2_000_000


def test_options_of_a_command_that_are_no_settings_are_passed_over():
    settings = load_settings({"allowed_host": ["a.example"], "view": "window"})
    assert settings == Settings(allowed_host=("a.example",))


def test_allowed_hosts_are_separated_by_commas(say):
    say(ALLOWED_HOST="spikes.example, ::2,*", CLASSES=",")
    settings = load_settings({})
    assert settings.classes == ()
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


def test_what_is_looked_for_is_a_setting(say):
    say(CLASSES="cat, dog")
    settings = load_settings({"agnostic_nms": True})
    options = settings.read_options(model_preset("spyv4-nano"))
    assert (options.classes, options.agnostic_nms) == (("cat", "dog"), True)
    assert settings.sent_options(model_preset("spyv4-nano")).classes == ("cat", "dog")
    with pytest.raises(ArgumentError, match="unknown class 'lion'"):
        Settings(classes=("lion",)).read_options(model_preset("spyv4-nano"))


def test_the_length_of_a_frame_of_events_comes_to_its_source(tmp_path):
    path = tmp_path / "edge.bin"
    path.touch()
    source = load_settings({"source": str(path), "event_window_ms": 50.0}).open_source()
    assert source.frame_rate == 20
