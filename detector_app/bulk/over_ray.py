"""A run over Ray Data: an actor a core or GPU, each of which writes the files of its parts."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detector_app.bulk.parts import Part
from detector_app.bulk.working import Done, Task, Worker
from detector_app.cluster.connecting import Cluster
from detector_app.detecting.inputs import Input
from spyv4.threads import use_threads


def over_ray(
    cluster: Cluster, actors: int | None
) -> Callable[[Task, Sequence[Part]], Iterator[Done]]:
    """What does parts on a Ray cluster.

    An actor that dies is started anew and its part done again; parts that are done are files.

    Args:
        cluster: where; its machines share the folder, the pictures and the weights.
        actors: how many; one a core, or one a GPU where the network runs on those, by default.
    """

    def execute(task: Task, parts: Sequence[Part]) -> Iterator[Done]:
        cluster.connect()
        import ray
        import ray.data  # sets the level of its log

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        there = ray.cluster_resources()
        on_gpu = task.settings.device != "cpu" and there.get("GPU", 0) > 0
        count = min(actors or int(there["GPU" if on_gpu else "CPU"]), len(parts))
        cores = max(1, int(there["CPU"]) // count)
        rows = [
            {"number": part.number, "paths": [str(item.path) for item in part.inputs]}
            for part in parts
        ]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Actor,
            fn_constructor_args=(replace(task, folder=task.folder.resolve()), cores),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=cores,
            num_gpus=1 if on_gpu else 0,
        )
        for row in done.iter_rows():
            problems = str(row["problems"]).splitlines()
            yield Done(int(row["number"]), int(row["looks"]), int(row["objects"]), problems)

    return execute


class Actor:
    """A worker as Ray Data calls it: with a batch of one row, which is a part.

    Args:
        task: what all parts have in common.
        threads: how many to compute with.
    """

    def __init__(self, task: Task, threads: int) -> None:
        use_threads(threads)
        self._worker = Worker(task)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Do the part."""
        paths = [Path(path) for path in batch["paths"][0]]
        inputs = tuple(Input(path, Path(path.stem)) for path in paths)
        done = self._worker(Part(int(batch["number"][0]), inputs))
        return {
            "number": [done.number],
            "looks": [done.looks],
            "objects": [done.objects],
            "problems": ["\n".join(done.problems)],
        }
