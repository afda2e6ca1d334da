"""`spyv4-detect`: find things in pictures and clips; it needs no extra but for `--track`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detector_app.cluster.connecting import require_ray
from detector_app.commands.options import add_event_window, add_model_options
from spyv4.choices import MAX_READS
from spyv4.commandline import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    build_parser,
    positive,
    run_command,
)
from spyv4.errors import ArgumentError
from spyv4.extras import require_extra

PARTITION = 128
"""Pictures a file of a table, where nobody says: less than a minute of work."""
RAY_ONLY = ("ray_address", "actors")
BULK_ONLY = ("partition", "ray", *RAY_ONLY)
ONE_BY_ONE = (
    "json",
    "jsonl",
    "coco",
    "save_txt",
    "crop",
    "save_spikes",
    "save_potentials",
    "track",
    "count",
)
"""Options of one kind of output, by the names of their values."""

if TYPE_CHECKING:
    from detector_app.detecting.looking import Looker
    from detector_app.settings import Settings


def detect_command(argv: list[str] | None = None) -> int:
    """The console script."""
    parser = build_parser(
        "spyv4-detect",
        "Find things in pictures and clips; write annotated copies, JSON and more.",
        "spyv4-detect photos/ clip.mp4 --output found --json found/boxes.json",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=_path,
        metavar="PATH",
        help="pictures, clips, folders of them, or patterns in quotes ('photos/**/*.jpg')",
    )
    parser.add_argument(
        "--recursive", action="store_true", help="look into the folders of folders, too"
    )
    _add_outputs(parser.add_argument_group("what is written"))
    _add_looking(parser.add_argument_group("how it is looked at"))
    _add_bulk(parser.add_argument_group("very many, into a table (--output NAME.parquet)"))
    add_model_options(parser)
    return run_command(parser, _detect, argv)


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--output",
        type=Path,
        default=Path("detected"),
        metavar="DIR",
        help="folder for annotated copies and all that names no file of its own (%(default)s); "
        "one called parquet, or NAME.parquet, gets a table and nothing else",
    )
    add(
        "--save",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="annotated copies: of a clip an MP4 (codec mp4v) of its size and rate",
    )
    add(
        "--format",
        choices=["jpg", "png"],
        default="jpg",
        help="of annotated pictures and crops (%(default)s)",
    )
    add("--json", type=Path, metavar="FILE", help="the boxes of everything; written at the end")
    add(
        "--jsonl",
        type=Path,
        metavar="FILE",
        help="a line of JSON a picture and frame, as it goes (for clips without this: CLIP.jsonl "
        "in the folder)",
    )
    add("--coco", type=Path, metavar="FILE", help="the same in COCO's layout, with scores")
    add("--save-txt", action="store_true", help="YOLO labels, in labels/ of the folder")
    add("--crop", action="store_true", help="a picture of every object, in crops/CLASS/")
    add(
        "--save-spikes",
        type=Path,
        metavar="FILE.npz|DIR",
        help="all spikes of all reads of the only picture, or a file a picture and frame in a "
        "folder (docs/spikes.md)",
    )
    add(
        "--save-potentials",
        choices=["float16", "float32"],
        help="membrane potentials in them, too, as numbers of that type",
    )
    add("--count", action="store_true", help="say at the end how many of every class were found")


def _add_looking(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--every", type=positive, default=1, metavar="N", help="of a clip one frame in N (1)")
    add(
        "--carry-state",
        action="store_true",
        default=None,
        help="start each frame of a clip from the state the last one left",
    )
    add_event_window(add)
    add("--track", action="store_true", help="number the objects of a clip (extra track)")


def _add_bulk(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--partition",
        type=positive,
        metavar="N",
        help=f"pictures a file ({PARTITION}); a clip has a file of its own. The same command again "
        "goes on after the files that are there",
    )
    add("--ray", action="store_true", help="several processes or machines at a time (extra ray)")
    add("--ray-address", metavar="HOST:PORT", help="a cluster that runs; auto for the one here")
    add("--actors", type=positive, metavar="N", help="processes (one a core, or one a GPU)")


def _detect(arguments: argparse.Namespace) -> int:
    if is_bulk(arguments.output):
        return _detect_bulk(arguments)
    require_none(arguments, BULK_ONLY, "--output NAME.parquet alone; name such a folder")
    from detector_app.detecting.inputs import Targets, find_inputs
    from detector_app.detecting.job import Job
    from detector_app.detecting.outputs import NamedFiles, Outputs
    from detector_app.detecting.spikes import check_spikes
    from detector_app.detecting.stopping import stop_on_interrupt
    from detector_app.settings import load_settings
    from detector_app.stream.recordings import require_reader
    from detector_app.stream.sources import quieten

    quieten()
    if arguments.track:
        require_extra("track", "identities across frames")
    inputs, problems = find_inputs(arguments.paths, recursive=arguments.recursive)
    for item in inputs:
        require_reader(item.path)
    targets = Targets(item.path for item in inputs)
    outputs = Outputs(
        folder=arguments.output,
        picture_suffix=f".{arguments.format}",
        save=arguments.save,
        crop=arguments.crop,
        yolo=arguments.save_txt,
        files=NamedFiles(arguments.json, arguments.jsonl, arguments.coco),
        spikes=arguments.save_spikes,
    )
    outputs.claim_files(targets)
    check_spikes(arguments.save_spikes, arguments.save_potentials, inputs, targets)
    settings = load_settings(vars(arguments) | {"max_reads": MAX_READS})
    job = Job(
        _looker(arguments, settings),
        outputs,
        targets,
        every=arguments.every,
        event_window_ms=settings.event_window_ms,
        say=print,
        terminal=sys.stderr,
    )
    with stop_on_interrupt() as stop:
        job.run(inputs, stop)
    if arguments.count:
        print(f"found: {job.tally}")
    for problem in problems + job.problems:
        print(f"spyv4-detect: error: {problem}", file=sys.stderr)
    if stop.is_set():
        within = f" and {job.stopped_in}" if job.stopped_in else ""
        print(f"spyv4-detect: stopped after {job.done} files{within}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_USAGE if problems or job.problems else EXIT_OK


def _detect_bulk(arguments: argparse.Namespace) -> int:
    """Into a table, part by part."""
    require_none(arguments, ONE_BY_ONE, "other kinds of --output; a table holds boxes alone")
    if not arguments.ray:
        require_none(arguments, RAY_ONLY, "--ray; add that")
    else:
        require_ray()
    from detector_app.bulk.job import BulkJob, Executor
    from detector_app.bulk.over_ray import over_ray
    from detector_app.cluster.connecting import Cluster
    from detector_app.detecting.inputs import find_inputs
    from detector_app.detecting.stopping import stop_on_interrupt
    from detector_app.settings import load_settings
    from detector_app.stream.recordings import require_reader
    from detector_app.stream.sources import quieten

    quieten()
    inputs, problems = find_inputs(arguments.paths, recursive=arguments.recursive)
    if problems:
        raise ArgumentError("; ".join(problems))
    for item in inputs:
        require_reader(item.path)
    settings = load_settings(vars(arguments) | {"max_reads": MAX_READS})
    pictures = arguments.partition or PARTITION
    job = BulkJob(inputs, arguments.output, settings, pictures=pictures, every=arguments.every)
    cluster = Cluster(arguments.ray_address)
    execute: Executor = over_ray(cluster, arguments.actors) if arguments.ray else job.here
    with stop_on_interrupt() as stop:
        job.run(execute, stop, say=print, terminal=sys.stderr)
    for problem in job.problems:
        print(f"spyv4-detect: error: {problem}", file=sys.stderr)
    if job.left:
        print("spyv4-detect: stopped; the same command goes on", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_USAGE if job.problems else EXIT_OK


def _looker(arguments: argparse.Namespace, settings: "Settings") -> "Looker":
    """The detector, loaded, and how it is to look."""
    from detector_app.detecting.looking import Looker
    from spyv4.recording import Recorder

    if arguments.save_spikes is not None and settings.compile:
        raise ArgumentError(
            "a compiled network shows no spikes; leave out --compile or --save-spikes"
        )
    detector = settings.load_detector()
    options = settings.read_options(detector.config)
    recorder = None
    if arguments.save_spikes is not None:
        potentials = arguments.save_potentials
        recorder = Recorder(detector.runtime, detector.image_size, options, potentials)
    return Looker(detector, options, arguments.track, recorder)


def is_bulk(output: Path) -> bool:
    """Whether a folder is to hold a table, by its name."""
    return output.name == "parquet" or output.suffix == ".parquet"


def require_none(arguments: argparse.Namespace, names: Sequence[str], owner: str) -> None:
    """Raise `ArgumentError` where an option is given that is for something else.

    Args:
        arguments: of the command.
        names: of the options' values.
        owner: what they are for.
    """
    for name in names:
        if getattr(arguments, name) not in (None, False):
            raise ArgumentError(f"--{name.replace('_', '-')} is for {owner}")


def _path(text: str) -> Path:
    """A path, as an argument's type; an address is none."""
    if "://" in text:
        raise argparse.ArgumentTypeError(
            f"{text} is an address; download it, or watch it with spyv4-webcam --source"
        )
    return Path(text)
