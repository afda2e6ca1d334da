"""The report of a run, in its folder."""

from collections.abc import Mapping, Sequence

from spyv4.validation import to_mapping
from training.data import AnnotatedImage, TrainingLoader
from training.evaluate.evaluation import Evaluation
from training.evaluate.findings import findings_of
from training.report.gather import facts, read_log
from training.report.page import Report, write_report
from training.report.pictures import batch_pictures
from training.run_state import RunState
from training.runs import RunFolder


class RunReport:
    """Writes `report.html` into the folder of a run.

    Args:
        loader: what the run learns from.
        pictures: annotated pictures by the name of their data set: those to train on, and those to
            evaluate on if there are any.
        data: the image sets that are evaluated on.
    """

    def __init__(
        self,
        loader: TrainingLoader,
        pictures: Mapping[str, Sequence[AnnotatedImage]],
        data: str,
    ) -> None:
        self._loader, self._pictures, self._data = loader, pictures, data
        self._batch: list[str] = []

    def write(self, state: RunState, folder: RunFolder, evaluation: Evaluation | None) -> None:
        """Write it anew.

        Args:
            state: the run.
            folder: where it is kept.
            evaluation: of what would be shipped now, where there is one.

        Raises:
            DatasetError: if a picture cannot be decoded.
            OSError: if the page cannot be written.
        """
        config, log = state.config, read_log(folder.log)
        names = config.model.class_names
        if not self._batch:  # the same one at every evaluation
            *_, batch = self._loader.batches(0, self._loader.steps_per_epoch - 1)
            self._batch = batch_pictures(batch, names)
        starts = [str(entry["started"]) for entry in log if "started" in entry]
        progress = {
            "started": ", resumed ".join(starts),
            "epochs": f"{state.position.epoch} of {config.epochs}",
            "batches": f"{state.step:,} of {state.total_steps:,}",
        }
        findings = None
        if evaluation is not None:
            findings = findings_of(evaluation, config.model, self._data)
        write_report(
            folder.report,
            Report(
                title=f"{config.model.name}: {folder.path.resolve().name}",
                facts=facts() | progress,
                configuration=to_mapping(config),
                class_names=names,
                pictures=self._pictures,
                log=log,
                batch=self._batch,
                findings=findings,
            ),
        )
