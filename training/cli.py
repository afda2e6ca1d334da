"""The console scripts of the training package."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from spyv4.commandline import build_parser, run_command
from spyv4.config import MODEL_PRESETS
from spyv4.errors import CheckpointError, ConfigError, RuntimeUnavailableError
from spyv4.network.spyv4 import SPYv4
from spyv4.runtime.torch_runtime import can_compile, pick_device
from spyv4.validation import to_mapping
from spyv4.weights import load_weights
from training.checkpoints import (
    LAST,
    WEIGHTS,
    load_run,
    remove_partial_files,
    resume_advice,
)
from training.config import TrainingConfig
from training.data import AnnotatedImage, TrainingLoader, read_split
from training.engine import Trainer
from training.errors import DataWorkerError, OutOfMemoryError
from training.evaluate.command import eval_command
from training.interrupts import Interrupts
from training.report.log import RunLog
from training.resolve import RECIPES, resolve_config
from training.run_evaluation import evaluate, store_operating_point
from training.tasks.command import tasks_command

logger = logging.getLogger(__name__)

__all__ = ["eval_command", "tasks_command", "train_command"]

VOC_TRAIN, VOC_EVAL = "VOC2007:trainval,VOC2012:trainval", "VOC2007:test"


def train_command(argv: list[str] | None = None, *, stop: Interrupts | None = None) -> int:
    """`spyv4-train`; `stop` answers Ctrl-C and SIGTERM."""
    return run_command(train_parser(), partial(_train, stop=stop or Interrupts()), argv)


def train_parser() -> argparse.ArgumentParser:
    """The options of `spyv4-train`."""
    parser = build_parser(
        "spyv4-train",
        "Train a spiking detector with FPTT, or another rule, on a folder in Pascal VOC's layout.",
        "spyv4-train --voc-root data/VOC --model spyv4-nano --epochs 100 --run runs/nano",
    )
    add = parser.add_argument
    add("--voc-root", type=Path, required=True, help="holds VOC2007/VOC2012, or its parent")
    add("--train", default=VOC_TRAIN, help="training sets, YEAR:SET[,..] (%(default)s)")
    add("--extra-voc-root", type=Path, help="a further folder of training pictures")
    add("--extra-train", default="VOC2012:train", help="its sets (%(default)s)")
    add("--eval", default=VOC_EVAL, help="evaluation sets (%(default)s)")
    add("--run", type=Path, default=Path("runs/spyv4"), help="output folder (%(default)s)")
    add("--resume", action="store_true", help="go on from the newest checkpoint in --run")
    add("--config", type=Path, help="TOML file; keys as in the TrainingConfig docstring")
    add(
        "--recipe",
        choices=RECIPES,
        default="paper",
        help="settings to start from (training/recipes): the paper's, those of the authors' code, "
        "or what trains small networks well on a CPU (%(default)s)",
    )
    add("--model", choices=list(MODEL_PRESETS), help="network (spyv4)")
    add(
        "--init-weights",
        metavar="NAME|FILE",
        help="start from these parameters instead of random ones: shipped weights by name, or a "
        "file; where the classes are others, the heads start anew",
    )
    add("--epochs", type=int)
    add("--batch-size", type=int)
    add("--reads", type=int, help="reads of every picture")
    add("--image-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    add("--learner", choices=["plain", "fptt", "fptt-k", "bptt", "tbptt"], help="learning rule")
    add("--optimizer", choices=["adagrad", "adam", "adamw", "sgd"])
    add("--learning-rate", type=float)
    add("--seed", type=int)
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting, in TOML: --set learner.alpha=0.05 --set 'optimizer.name=\"sgd\"'",
    )
    add("--workers", type=int, default=1, help="processes that prepare pictures (%(default)s)")
    add(
        "--cache-gib",
        type=float,
        help="memory for decoded pictures (a third of this machine's, at most 8)",
    )
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--no-compile", action="store_true", help="skip compilation: starts sooner, runs slower")
    add("--save-minutes", type=float, default=5.0, help="between checkpoints (%(default)s)")
    add("--eval-every", type=int, default=0, help="epochs between evaluations; 0 for the end alone")
    add("--no-eval", action="store_true", help="do not evaluate, not even at the end")
    add("--skip-bad", action="store_true", help="leave out damaged pictures and annotations")
    add("--no-tensorboard", action="store_true")
    return parser


def _read_training_images(
    arguments: argparse.Namespace, config: TrainingConfig
) -> list[AnnotatedImage]:
    names = config.model.class_names
    images = read_split(arguments.voc_root, arguments.train, names, skip_bad=arguments.skip_bad)
    if arguments.extra_voc_root is not None:
        images += read_split(
            arguments.extra_voc_root, arguments.extra_train, names, skip_bad=arguments.skip_bad
        )
    return images


def _read_eval_images(
    arguments: argparse.Namespace, config: TrainingConfig
) -> list[AnnotatedImage]:
    return read_split(
        arguments.voc_root, arguments.eval, config.model.class_names, skip_bad=arguments.skip_bad
    )


def _build_model(arguments: argparse.Namespace, config: TrainingConfig, *, resumed: bool) -> SPYv4:
    """A network with random parameters, or those of --init-weights; a checkpoint replaces both."""
    torch.manual_seed(config.seed)
    model = SPYv4(config.model)
    if resumed:
        return model
    if arguments.init_weights is None:
        if config.freeze_batch_norm:
            raise ConfigError("freeze_batch_norm needs --init-weights: statistics to keep")
        return model
    source = load_weights(arguments.init_weights)
    if source.folded:
        model.fold()
    start = source.state_dict()
    if source.config.class_names != config.model.class_names:
        logger.warning(
            "the classes are not those of %s: the heads start anew", arguments.init_weights
        )
        fresh = model.state_dict()
        start |= {name: fresh[name] for name in start if name.startswith("heads.")}
    try:
        model.load_state_dict(start)
    except RuntimeError as error:
        raise CheckpointError(
            f"{arguments.init_weights} does not fit the configured network: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    return model


def _cache_gib() -> float:
    """Memory that decoded pictures may take where nothing is said, GiB."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return min(8.0, physical / 3)


def _run(
    trainer: Trainer, log: RunLog, after_epoch: Callable[[int], None], stop: Interrupts
) -> bool:
    """`Trainer.run`; what the machine lacks is told in one line."""
    try:
        return trainer.run(log, after_epoch, stop)
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            "the GPU's memory is too small for this; use a smaller --batch-size or --image-size, "
            f"and --resume from {trainer.run_dir}"
        ) from error
    except DataWorkerError as error:
        advice = resume_advice(trainer.run_dir)
        raise DataWorkerError(f"{error}{'; ' if advice else ''}{advice}") from error


def _restore_weights(trainer: Trainer) -> None:
    """A run that is complete has nothing left to do but to have its weights."""
    if trainer.position.epoch >= trainer.config.epochs and (problem := trainer.restore_weights()):
        logger.warning("%s; written anew from %s", problem, trainer.run_dir / LAST)


def _train(arguments: argparse.Namespace, stop: Interrupts) -> int:
    run_dir: Path = arguments.run
    if (run_dir / LAST).exists() and not arguments.resume:
        raise ConfigError(f"{run_dir} holds a run already; add --resume or choose another --run")
    stop.advice = partial(resume_advice, run_dir)
    remove_partial_files(run_dir)
    saved = load_run(run_dir) if arguments.resume else None
    device = pick_device(arguments.device)
    if device.type == "cpu" and not arguments.no_compile and not can_compile():
        raise RuntimeUnavailableError("compiling needs a C++ compiler (g++); add --no-compile")
    config = resolve_config(arguments, json.loads(saved["config"]) if saved is not None else None)
    with stop.at_once("reading annotations"):
        # Read now, so that a missing set shows before hours of training.
        eval_images = [] if arguments.no_eval else _read_eval_images(arguments, config)
        images = _read_training_images(arguments, config)
    trainer = Trainer(
        _build_model(arguments, config, resumed=saved is not None),
        _build_loader(arguments, config, images),
        config,
        run_dir,
        device=device,
        compile_step=not arguments.no_compile,
        save_every_s=arguments.save_minutes * 60,
    )
    if saved is not None:
        trainer.load_state_dict(saved)
        _restore_weights(trainer)
    return _train_and_evaluate(arguments, trainer, len(images), eval_images, stop)


def _build_loader(
    arguments: argparse.Namespace, config: TrainingConfig, images: list[AnnotatedImage]
) -> TrainingLoader:
    return TrainingLoader(
        images,
        config.model.class_names,
        config.model.image_size,
        config.batch_size,
        seed=config.seed,
        augmentation=config.augmentation,
        workers=arguments.workers,
        repeat_threshold=config.repeat_threshold,
        cache_gib=_cache_gib() if arguments.cache_gib is None else arguments.cache_gib,
    )


def _train_and_evaluate(
    arguments: argparse.Namespace,
    trainer: Trainer,
    pictures: int,
    eval_images: list[AnnotatedImage],
    stop: Interrupts,
) -> int:
    """The rest of the run, and the line of JSON that ends it."""
    config, steps = trainer.config, trainer.loader.steps_per_epoch
    with RunLog(
        trainer.run_dir,
        config.epochs * steps,
        trainer.global_step,
        tensorboard=not arguments.no_tensorboard,
    ) as log:
        stop.say = log.say
        log.event({"config": to_mapping(config), "pictures": pictures})

        def after_epoch(done: int) -> None:
            due = arguments.eval_every > 0 and done % arguments.eval_every == 0
            if eval_images and due and done < config.epochs:
                evaluate(trainer, eval_images, log, stop)

        complete = _run(trainer, log, after_epoch, stop)
        report = {"complete": complete, "weights": str(trainer.run_dir / WEIGHTS)}
        if complete and eval_images:  # here, so that a run that ended before it catches up
            scores = evaluate(trainer, eval_images, log, stop)
            report["map"] = scores.mean_ap()
            store_operating_point(scores, trainer.run_dir / WEIGHTS, log)
    stop.say = None
    if not complete:
        epoch, step = trainer.position
        print(
            f"stopped in epoch {epoch + 1}/{config.epochs}, after {step} of its {steps} batches; "
            f"{resume_advice(trainer.run_dir)}",
            file=sys.stderr,
        )
    print(json.dumps(report))
    return 0
