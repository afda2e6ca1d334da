"""The paper's notation of networks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyv4.errors import ConfigError
from training.tasks.notation import NETWORKS, find_network, parse_network
from training.tasks.parts import (
    Branches,
    Conv,
    Dense,
    Layer,
    Leaky,
    Network,
    Pool,
    Recurrent,
    Values,
)

sizes = st.integers(1, 999_999)
convs = st.builds(Conv, sizes, sizes, sizes, st.integers(0, 999_999))
neurons = st.one_of(st.builds(Dense, sizes), st.builds(Recurrent, sizes))


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Any network that can be written."""
    inputs = draw(st.one_of(st.none(), st.builds(Values, sizes), st.lists(sizes, min_size=1)))
    first: list[Layer] = []
    if isinstance(inputs, list):
        branches = [Dense(draw(sizes)) for _ in inputs]
        first, inputs = [Branches(tuple(branches))], Branches(tuple(map(Values, inputs)))
    elif inputs is None:
        first = draw(st.lists(st.one_of(convs, st.builds(Pool, sizes, sizes)), max_size=3))
    least = 0 if first else 1
    layers = (*first, *draw(st.lists(neurons, min_size=least, max_size=3)))
    leaky = not isinstance(layers[-1], Dense | Recurrent) or draw(st.booleans())
    size = draw(sizes)
    return Network(inputs, layers, Leaky(size) if leaky else Values(size))


@given(networks())
def test_what_is_written_is_read_back(network: Network) -> None:
    assert parse_network(str(network)) == network


@given(st.text("ConvKCSPM DRI[],-0123456789", max_size=30))
def test_any_text_is_its_own_normal_form_or_refused(text: str) -> None:
    try:
        network = parse_network(text)
    except ConfigError as error:
        _, shown, caret, _ = str(error).split("\n")
        assert shown == f"  {text}"
        assert 0 <= len(caret) - 3 <= len(text)
    else:
        assert str(network) == text


@pytest.mark.parametrize("name", NETWORKS)
def test_the_papers_networks_are_in_the_notation(name: str) -> None:
    assert str(find_network(name)) == NETWORKS[name]
    assert find_network(NETWORKS[name]) == find_network(name)


def test_the_parts_are_what_the_paper_says() -> None:
    shallow = find_network("dvs-gesture-shallow")
    assert shallow.inputs == Branches((Values(1024), Values(1024)))
    assert shallow.layers == (Branches((Dense(512), Dense(512))), Recurrent(512))
    assert shallow.readout == Leaky(11)
    deep = find_network("dvs-gesture")
    assert deep.layers[:2] == (Conv(kernel=7, channels=64, stride=1, padding=3), Pool(2, 2))
    assert len(deep.layers) == 13
    assert find_network("dvs-cifar10").layers == deep.layers
    assert find_network("add") == Network(Values(2), (Recurrent(128),), Values(1))


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", 0, "a number, ConvK, MPK or [ expected"),
        ("512Q-10I", 3, "- expected"),
        ("512R-", 5, "a number, ConvK, MPK or [ expected"),
        ("512R 10I", 4, "- expected"),
        ("0R-10I", 0, "a number from 1 to 999999"),
        ("512R-010I", 5, "without leading zeros"),
        ("1000000R-10I", 0, "to 999999"),
        ("ConvK3C32X1P1-10I", 9, "S expected"),
        ("Canv", 1, "ConvK expected"),
        ("ConvK3C32S1P-10I", 12, "a number expected"),
        ("MPK2-10I", 4, "S expected"),
        ("[1024,1024-512R-10I", 10, ", expected"),
        ("[1024,512D]-512R-10I", 6, "within brackets"),
        ("[1024,1024]-512R-10I", 12, "a layer for each of them"),
        ("[9,9]-[5D]-10I", 6, "after as many inputs"),
        ("9R-[5D]-10I", 3, "after as many inputs"),
        ("9R-[5]-10I", 3, "inputs stand at the start"),
        ("9R-7-10I", 3, "inputs stand at the start and a read-out at the end"),
        ("10I-9R", 0, "inputs stand at the start and a read-out at the end"),
        ("9R-ConvK3C32S1P1-10I", 3, "before all other layers"),
        ("784-ConvK3C32S1P1-10I", 4, "before all other layers and inputs"),
        ("512R", 4, "a read-out such as 10I"),
        ("10I", 0, "a layer such as 512R"),
        ("784-10I", 4, "a layer such as 512R"),
        ("ConvK3C32S1P1-10", 14, "needs a layer such as 512R before it"),
    ],
)
def test_errors_point_at_the_character(text: str, place: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_network(text)
    first, shown, caret, names = str(caught.value).split("\n")
    assert words in first
    assert f"at character {place + 1}" in first
    assert shown == f"  {text}"
    assert caret == f"  {' ' * place}^"
    assert "s-mnist" in names
