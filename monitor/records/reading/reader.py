"""Reading prompts: the features of those that are read, and nothing of the others.

Which prompts of settled keys are read depends on what the ones before show, and `update` finds that
out in stream order. So before it a batch's prompts are read as if every settled key remained so.
Where one does not, `update` stops, and the rest of that key's prompts are read, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.identity import Identity
from monitor.kernels.buffers import Prompts
from monitor.kernels.repeats import Arrays, Repeats
from monitor.prompts.extractor import Extractor, Features
from monitor.prompts.lexicon import Lexicon, confirmed
from monitor.prompts.normalise import Normaliser
from monitor.records.admission import Admitted
from monitor.records.profile import Records
from monitor.records.reading.settled import choose
from monitor.requests.columns import Columns
from monitor.requests.marks import INTENT

Flags = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Reading:
    """What is read of n prompts.

    Attributes:
        prompts: all of them.
        features: those of the prompts that are extracted; the others have those of an empty prompt.
        marks: `(n,) uint16`, bits of `requests/marks.py`, with the intents of extracted prompts.
        chosen, extracted: `(n,) bool`, see `choose`.
    """

    prompts: Prompts
    features: Features
    marks: npt.NDArray[np.uint16]
    chosen: Flags
    extracted: Flags


class PromptReader:
    """Reads the prompts of batches.

    Args:
        identity: derives the secret by which prompts of settled keys are chosen.
        normalise, extract: make features.
        share: of the prompts of settled keys that are read.
    """

    def __init__(
        self, identity: Identity, normalise: Normaliser, extract: Extractor, share: float
    ) -> None:
        self._seed = np.frombuffer(identity.derive("reading", 8), "<u8")[0]
        self._normalise, self._extract, self._lexicon = normalise, extract, Lexicon()
        self._repeats = Repeats(self._process, identity.derive("repeats"))
        self._share = share

    def __call__(
        self, records: Records, rows: npt.NDArray[np.int64], columns: Columns, read: Admitted
    ) -> Reading:
        """Read n prompts.

        Args:
            records: `(capacity,) RECORD`, the table.
            rows: `(n,) int64`, the record of each request.
            columns: the requests.
            read: what is admitted of them.
        """
        chosen, extracted = np.ones(len(rows), np.bool_), np.ones(len(rows), np.bool_)
        prompts, marks = read.prompts, read.marks.copy()
        if self._share < 1.0 and choose(
            *(records, rows, read.admitted, marks, columns.parts, read.judged),
            *(self._seed, self._share, chosen, extracted),
        ):
            users = columns.short_hashes("end_user")
            if users.any():  # such a key is not settled any more
                extracted |= np.isin(rows, rows[users != 0])
            places = np.where(extracted[:, None], prompts.places, 0)
            prompts = prompts._replace(places=places)
        features, intents = self._features(prompts)
        marks |= intents
        return Reading(read.prompts, features, marks, chosen, extracted)

    def complete(self, reading: Reading, which: npt.NDArray[np.int64]) -> None:
        """Read the prompts at the indices `which`, too, of a reading that is updated in place."""
        places = reading.prompts.places[which]
        features, intents = self._features(reading.prompts._replace(places=places))
        for name, values in features._asdict().items():
            getattr(reading.features, name)[which] = values
        reading.marks[which] |= intents
        reading.extracted[which] = True

    def _features(self, prompts: Prompts) -> tuple[Features, npt.NDArray[np.uint16]]:
        """The features of n prompts, and the bits of their intents in `marks`, `(n,) uint16`."""
        *values, intents = self._repeats(prompts)
        features = Features(*values)
        return features, confirmed(intents, features.lists) * np.uint16(INTENT)

    def _process(self, prompts: Prompts) -> Arrays:
        """The features of n prompts, and the intents whose phrases they have."""
        texts = self._normalise(prompts)
        features = self._extract(texts)
        return *features, self._lexicon.match(texts, features.triggered)
