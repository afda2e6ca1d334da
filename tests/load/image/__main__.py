"""The image without a container engine: `python -m tests.load.image --root DIR`, as root.

Debian's debootstrap fills DIR with what stands in for the base image. Then, read from the files
themselves:

1. the steps of the Dockerfile, each in that root, as its user, in its folder, with its environment;
2. the entry point with the options of deploy/compose.yaml: only the volume and /tmp can be written
   to, no capabilities, no network but a loopback interface, as the first process of its own. The
   health checks of both files, /detect without and with the key, the compiled network, SIGTERM;
3. once more, with what the first time left in the volume; and before both, a start that ends while
   the server is starting, and one that ends while the network is being compiled.

DIR is left as it is, to be looked at and removed; nothing stays mounted on it. The address of a
package index, certificates or wheels of this machine come from the command line:
`--build-arg TORCH_INDEX=...`, `--bind FILE:/etc/pip.conf` (there while the steps are run alone).
What it measured comes as JSON on the standard output, all else on the standard error.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from tests.load.image.building import build, make_base, size_mib
from tests.load.image.reading import read_recipe
from tests.load.image.root import leave_mounts, leave_network
from tests.load.image.serving import KEY, read_service, serve, stop_early

CONTEXT = Path(__file__).parents[3]


def build_arg(text: str) -> tuple[str, str]:
    """NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def bind(text: str) -> tuple[Path, str]:
    """SOURCE or SOURCE:TARGET."""
    source, _, target = text.partition(":")
    if not Path(source).exists():
        raise argparse.ArgumentTypeError(f"there is no {source}")
    return Path(source), target or source


def empty_folder(text: str) -> Path:
    """A new folder, or one without content; not where COPY would find it."""
    folder = Path(text).resolve()
    if folder.is_relative_to(CONTEXT):
        raise argparse.ArgumentTypeError(f"{folder} lies in {CONTEXT}, which is copied into it")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise argparse.ArgumentTypeError(f"{folder} is not empty; name a new folder")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="Needs debootstrap and iproute2."
    )
    parser.add_argument("--root", type=empty_folder, required=True, metavar="DIR", help="new")
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="of Debian")
    parser.add_argument(
        "--build-arg", type=build_arg, action="append", default=[], metavar="NAME=VALUE"
    )
    parser.add_argument(
        "--bind",
        type=bind,
        action="append",
        default=[],
        metavar="SOURCE[:TARGET]",
        help="file or folder of this machine to be read while the steps are run",
    )
    parser.add_argument(
        "--built-seconds", type=float, default=600, help="to wait for the compiled network"
    )
    arguments = parser.parse_args()
    result: dict[str, object] = {"load_average": os.getloadavg()[0]}
    try:
        measure(arguments, result)
    finally:  # what there is, also where the rest failed
        json.dump(result, sys.stdout, indent=1)
        print()


def measure(arguments: argparse.Namespace, result: dict[str, object]) -> None:
    """Build and run the image, and note in `result` what was seen."""
    root = arguments.root
    recipe = read_recipe((CONTEXT / "Dockerfile").read_text(), dict(arguments.build_arg))
    compose = (CONTEXT / "deploy" / "compose.yaml").read_text()
    service = read_service(compose, {"SPYV4_API_KEY": KEY})
    leave_mounts()
    started = time.perf_counter()
    make_base(recipe.base, root, arguments.mirror)
    seconds = round(time.perf_counter() - started, 1)
    result["base"] = {"image": recipe.base, "seconds": seconds, "mib": size_mib(root)}
    result["steps"] = build(recipe, root, CONTEXT, arguments.bind)
    result["mib"] = size_mib(root)
    leave_network()
    result["stopped_at_start"] = stop_early(recipe, service, root)
    result["stopped_while_compiling"] = serve(recipe, service, root, 0.0)
    result["compiled"] = serve(recipe, service, root, arguments.built_seconds)
    result["again"] = serve(recipe, service, root, arguments.built_seconds)


if __name__ == "__main__":
    main()
