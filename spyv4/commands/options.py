"""Options that the commands of this package share."""

import argparse


def add_image_size(parser: argparse.ArgumentParser) -> None:
    """`--image-size`."""
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="pixels, multiples of 32 (the network's own)",
    )


def image_size(arguments: argparse.Namespace, default: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) that was asked for.

    Raises:
        ConfigError: unless they are positive multiples of 32.
    """
    from spyv4.config import check_image_size

    if arguments.image_size is None:
        return default
    size = (arguments.image_size[0], arguments.image_size[1])
    check_image_size(size)
    return size
