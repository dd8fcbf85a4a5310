"""Which prompts are tasks: the frames are cut, and the task model judges what is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from monitor.identity import Identity
from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import Normaliser
from monitor.records.admission import Admitted
from monitor.records.harvest.frames import varying
from monitor.records.harvest.task_model import load_tasks
from monitor.records.profile import Records
from monitor.records.reading.reader import Reading
from monitor.requests.columns import Columns


class TaskJudge:
    """Judges what varies in the prompts of keys that hardly ever follow up.

    Args:
        identity: derives the secret of the hashes of sentences.
        normalise, extract: as for whole prompts.
        model: file of the task model; default: the shipped one.
    """

    def __init__(
        self,
        identity: Identity,
        normalise: Normaliser,
        extract: Extractor,
        model: Path | None,
    ) -> None:
        self._seed = np.frombuffer(identity.derive("frames", 8), "<u8")[0]
        self._normalise, self._extract, self._model = normalise, extract, load_tasks(model)

    @property
    def traits(self) -> npt.NDArray[np.float64]:
        """Weights of the harvest level, `(1 + len(TRAITS),) float64`."""
        return self._model.traits

    def __call__(
        self,
        records: Records,
        rows: npt.NDArray[np.int64],
        columns: Columns,
        read: Admitted,
        reading: Reading,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """`Requests.tasks` and `Requests.unframed` of n requests; updates the frames.

        Args:
            records: `(capacity,) RECORD`, the table.
            rows: `(n,) int64`, the record of each request.
            columns: the requests.
            read: what is admitted of them.
            reading: what is read of their prompts.
        """
        found = varying(
            records,
            rows,
            read.admitted,
            read.marks,
            columns.parts,
            read.judged,
            read.prompts,
            self._seed,
        )
        tasks, unframed = np.full(len(rows), np.nan, np.float32), np.zeros(len(rows), np.float32)
        if len(found.which):
            other = found.prompts.sizes < read.prompts.sizes[found.which]  # than the prompt
            other |= ~reading.extracted[found.which]
            whole, cut = found.which[~other], found.which[other]
            tasks[whole] = self._model.odds(reading.features, whole)
            texts = self._normalise(found.prompts.take(other))
            tasks[cut] = self._model.odds(self._extract(texts, brief=True))
            unframed[found.which] = found.unframed
        return tasks, unframed
