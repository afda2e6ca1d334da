"""What `spyv4-train` does."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from spyv4.config import ModelConfig
from spyv4.errors import RuntimeUnavailableError
from spyv4.network.spyv4 import SPYv4
from spyv4.runtime.torch_runtime import can_compile, pick_device
from spyv4.validation import to_mapping
from spyv4.weights import load_weights
from training import processes
from training.allocator import keep_freed_memory
from training.anchors import with_found_anchors
from training.batch_norm import synchronise_batch_norm
from training.config import TrainingConfig
from training.data import (
    AnnotatedImage,
    DataSource,
    LoaderOptions,
    TrainingLoader,
    open_source,
    read_split,
)
from training.distillation.twin import TwinTeacher
from training.dry_run import describe_run
from training.errors import DataWorkerError, OutOfMemoryError, ProcessGoneError
from training.initial_weights import with_initial_weights
from training.interrupts import Interrupts
from training.loop import Trainer
from training.precision import faster_training
from training.read import dtype_of
from training.report.gather import now
from training.report.log import RunLog
from training.resolve import resolve_config
from training.run_evaluation import RunEvaluation
from training.run_names import locked, new_run, newest_run
from training.run_report import RunReport
from training.run_state import RunState
from training.runs import RunFolder

logger = logging.getLogger(__name__)


def _read_training_images(
    arguments: argparse.Namespace, source: DataSource, config: TrainingConfig
) -> list[AnnotatedImage]:
    names = config.model.class_names
    images = source.read(arguments.train or source.train_set, names, skip_bad=arguments.skip_bad)
    for root in arguments.extra_voc_root:
        images += read_split(root, arguments.extra_train, names, skip_bad=arguments.skip_bad)
    if arguments.fraction < 1:
        chosen = np.random.default_rng(config.seed).permutation(len(images))
        kept = sorted(chosen[: round(arguments.fraction * len(images))])
        images = [images[index] for index in kept]
    return images


def _read_eval_images(
    arguments: argparse.Namespace, source: DataSource, config: TrainingConfig
) -> list[AnnotatedImage]:
    if arguments.no_eval:
        return []
    name = arguments.eval or source.eval_set
    return source.read(name, config.model.class_names, skip_bad=arguments.skip_bad)


def _cache_gib(arguments: argparse.Namespace) -> float:
    """Memory that decoded pictures may take, GiB."""
    if arguments.cache == "off" or arguments.dry_run:
        return 0.0
    if arguments.cache_gib is not None:
        return float(arguments.cache_gib)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return min(8.0, physical / 3)


def _restore_weights(state: RunState, folder: RunFolder) -> None:
    """A run that is complete has nothing left to do but to have its weights."""
    if processes.is_lead() and state.complete and (problem := folder.restore_weights(state)):
        logger.warning("%s; written anew from %s", problem, folder.last)


def run(arguments: argparse.Namespace, stop: Interrupts) -> int:
    """Train in the folder of `--run`, or where it says nothing in one of `runs/`."""
    keep_freed_memory()
    if arguments.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or torch refuses
        torch.use_deterministic_algorithms(mode=True)
    device = _device(arguments)
    # Every size of pictures comes again and again, so that trying the ways to convolve pays.
    torch.backends.cudnn.benchmark = not arguments.deterministic
    with processes.joined(device), ExitStack() as stack:
        if arguments.teacher is not None and arguments.threads is None:
            torch.set_num_threads(_threads_beside_teacher(arguments.workers))
        folder = None
        if processes.is_lead():
            folder = RunFolder(stack.enter_context(_run_folder(arguments)))
        else:
            for package in ("spyv4", "training"):
                logging.getLogger(package).setLevel(logging.ERROR)
        return _train(arguments, cast("RunFolder", processes.from_lead(folder)), device, stop)


@contextmanager
def _run_folder(arguments: argparse.Namespace) -> Iterator[Path]:
    """The folder of the run, which nobody else trains in meanwhile."""
    with ExitStack() as stack:
        if arguments.resume:
            path = arguments.run or newest_run()
        else:
            path = stack.enter_context(new_run(arguments.run, _network_name(arguments)))
        if arguments.run is None and not arguments.dry_run:
            logger.info("the run is kept in %s", path)
        stack.enter_context(locked(path))
        yield path


def _network_name(arguments: argparse.Namespace) -> str:
    """What is trained, for people."""
    name: str = arguments.model or ModelConfig().name
    if arguments.init_weights and not arguments.model:
        name = load_weights(arguments.init_weights).config.name
    return f"{name}-twin" if arguments.twin else name


def _train(
    arguments: argparse.Namespace, folder: RunFolder, device: torch.device, stop: Interrupts
) -> int:
    saved = None
    if processes.is_lead():
        stop.advice = folder.resume_advice
        folder.remove_partial_files()
        saved = folder.load() if arguments.resume else None
    saved = processes.from_lead(saved)
    with stop.at_once("reading annotations"):
        source = open_source(arguments.voc_root, arguments.data)
        before = json.loads(saved["config"]) if saved is not None else None
        config = resolve_config(arguments, before, source.class_names)
        # Read now, so that a missing set shows before hours of training.
        eval_images = _read_eval_images(arguments, source, config)
        images = _read_training_images(arguments, source, config)
        if arguments.anchors == "auto" and saved is None:  # else the checkpoint has them
            anchored = with_found_anchors(config.model, images, config.seed)
            config = replace(config, model=anchored)
    loader = _build_loader(arguments, config, images, folder, device)
    model = _build_model(arguments, config, loader, stop).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    config = _with_precision(config, model, arguments)
    processes.take_from_lead(model)
    synchronise_batch_norm(model)
    state = RunState(model, loader, config, _twin_teacher(arguments, config, device))
    if saved is not None:
        state.load_state_dict(saved)
        _restore_weights(state, folder)
    pace = {"compile_step": not arguments.no_compile, "save_every_s": arguments.save_minutes * 60}
    trainer = Trainer(state, loader, folder, **pace)
    pictures = {"training": images} | ({"evaluation": eval_images} if eval_images else {})
    if arguments.dry_run:
        with stop.at_once("trying a few batches"):
            _say(describe_run(trainer, pictures))
        return 0
    run_report = RunReport(loader, pictures, source.title + (arguments.eval or source.eval_set))
    evaluation = RunEvaluation(eval_images, arguments.eval_every, run_report, arguments.patience)
    tensorboard = not arguments.no_tensorboard
    kept = folder.path if processes.is_lead() else None
    with RunLog(kept, state.total_steps, state.step, tensorboard=tensorboard) as log:
        stop.say = log.say
        log.event({"config": to_mapping(config), "pictures": len(images), "started": now()})
        report = _train_and_evaluate(trainer, log, stop, evaluation)
    stop.say = None
    if processes.is_lead() and not state.complete:
        print(_where_stopped(state, folder), file=sys.stderr)
    _say(json.dumps(report))
    return 0


def _threads_beside_teacher(workers: int) -> int:
    """How many threads to train with where workers ask a teacher.

    They are as busy as the trainer, and every step waits for its slowest thread: on two cores one
    thread beside one worker trains nearly twice as fast as two (104 and 57 images/s, nano's twin).
    """
    return max(1, torch.get_num_threads() - workers)


def _say(text: str) -> None:
    """The result of the command, once."""
    if processes.is_lead():
        print(text)


def _with_precision(
    config: TrainingConfig, model: SPYv4, arguments: argparse.Namespace
) -> TrainingConfig:
    """With the precision that trains faster here, where none was chosen."""
    if config.precision != "auto":
        return config
    if arguments.deterministic:  # what is measured may change
        return replace(config, precision="float32")
    precision = faster_training(model) if processes.is_lead() else "float32"
    return replace(config, precision=processes.from_lead(precision))


def _device(arguments: argparse.Namespace) -> torch.device:
    """Where to train; refuses to compile without a compiler."""
    device = pick_device(arguments.device)
    if device.type == "cpu" and not arguments.no_compile and not can_compile():
        raise RuntimeUnavailableError("compiling needs a C++ compiler (g++); add --no-compile")
    return device


def _build_model(
    arguments: argparse.Namespace, config: TrainingConfig, loader: TrainingLoader, stop: Interrupts
) -> SPYv4:
    """The network where it starts; a checkpoint has all of it."""
    torch.manual_seed(config.seed)
    model = SPYv4(config.model)
    if arguments.resume:
        return model
    with stop.at_once("starting from the initial weights"):
        return with_initial_weights(model, config, arguments.init_weights, loader)


def _twin_teacher(
    arguments: argparse.Namespace, config: TrainingConfig, device: torch.device
) -> TwinTeacher | None:
    """The twin that `--twin-teacher` names."""
    if arguments.twin_teacher is None:
        return None
    compiled, dtype = not arguments.no_compile, dtype_of(config)
    return TwinTeacher(arguments.twin_teacher, config, device, dtype, compile_step=compiled)


def _where_stopped(state: RunState, folder: RunFolder) -> str:
    """How far a run is that was asked to stop."""
    epoch, step = state.position
    return (
        f"stopped in epoch {epoch + 1}/{state.config.epochs}, after {step} of its "
        f"{state.steps_per_epoch} batches; {folder.resume_advice()}"
    )


def _build_loader(
    arguments: argparse.Namespace,
    config: TrainingConfig,
    images: list[AnnotatedImage],
    folder: RunFolder,
    device: torch.device,
) -> TrainingLoader:
    options = LoaderOptions(
        workers=arguments.workers,
        cache_gib=_cache_gib(arguments),
        cache_folder=folder.path if arguments.cache == "disk" and not arguments.dry_run else None,
        pinned=device.type == "cuda",
        device=device if arguments.cache == "device" else None,
        part=(processes.rank(), processes.count()),
    )
    return TrainingLoader(images, config, options, teacher=arguments.teacher)


def _train_and_evaluate(
    trainer: Trainer, log: RunLog, stop: Interrupts, evaluation: RunEvaluation
) -> dict[str, Any]:
    """The rest of the run, and what is to be said of it; what the machine lacks in one line."""
    folder = trainer.folder
    try:
        trainer.run(log, lambda: evaluation.between(trainer.state, folder, log, stop), stop)
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            "the GPU's memory is too small for this; use a smaller --batch-size or --image-size, "
            f"and --resume from {folder.path}"
        ) from error
    except DataWorkerError as error:
        advice = folder.resume_advice()
        raise DataWorkerError(f"{error}{'; ' if advice else ''}{advice}") from error
    except ProcessGoneError as error:
        raise ProcessGoneError(
            f"{error}; the last checkpoint in {folder.path} is whole: go on with the same command "
            "and --resume, on any number of processes"
        ) from error
    report: dict[str, Any] = {"complete": trainer.state.complete, "weights": str(folder.weights)}
    # Here, so that a run that ended before it catches up.
    if trainer.state.complete and processes.is_lead():
        report |= evaluation.final(trainer.state, folder, log, stop)
    return report
