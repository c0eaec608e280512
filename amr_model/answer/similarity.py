"""S0: moments without any training, off the similarity of sound and sentence in an encoder's shared space.

    curve[t]    cosine of second t and the query, less its mean over the recording

The mean is taken away because a recording as a whole is near to some sentences and far from others, whatever
happens in it. Rain that never stops is therefore no moment of its recording. Nothing here was fitted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from amr_model.answer.finder import Finder
from amr_model.answer.readout import ReadoutConfig, read_out
from amr_model.answer.run import Found, Integers, inside
from amr_model.answer.stretches import Curve
from clotho_long.audio.choice import SoundChoice
from clotho_long.core.errors import ConfigError, FeatureError
from clotho_long.core.units import Seconds
from clotho_long.features.encoder import Encoder, SharedSpace, shared_space
from clotho_long.features.extract import encode_texts
from clotho_long.features.files import Features
from clotho_long.features.windows import HOP_S, Convention

# A cosine that is 0.15 above the recording's mean counts as even odds, and a step of 0.05 as one logit: a
# choice by the size of CLAP's similarities, not a fit. Scores rank, and mean no probability. One threshold,
# since nothing fitted could choose between several: a mean prefers the shortest part of a moment.
READOUT = ReadoutConfig(shift=0.15, temperature=0.05, relative=(0.5,))
MIN_SCORE = 0.1  # a second at the recording's mean has 0.047: where nothing stands out, nothing is found
NORM_FLOOR = 1e-9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityAsker:
    """Reads moments off similarity curves; a query is one vector, [1, dim]."""

    space: SharedSpace | None  # None: the features themselves are compared, sound with sound
    readout: ReadoutConfig = READOUT

    @property
    def row_s(self) -> Seconds:
        """Seconds from one row to the next."""
        return float(HOP_S)

    def ask(
        self,
        rows: Features,
        duration_s: Seconds,
        texts: Sequence[Features],
        *,
        where: Sequence[Integers] | None = None,
    ) -> list[Found]:
        """What each query finds in a recording. All of it is compared, whatever `where` names: it is cheap.

        Raises:
            FeatureError: a query's vector has another width than the recording's.
        """
        curves = self.glance(rows, texts)
        readout = dataclasses.replace(self.readout, num_moments=None)
        return [
            Found(moments=inside(moments, duration_s, self.row_s), curve=curve)
            for moments, curve in zip(read_out(curves, readout, row_s=self.row_s), curves, strict=True)
        ]

    def glance(self, rows: Features, texts: Sequence[Features]) -> list[Curve]:
        """The curve of each query, [row]; errors as `ask`."""
        rows = np.asarray(rows, dtype=np.float32)
        vectors = unit_rows(rows) if self.space is None else self.space.project_rows(rows)
        centred = vectors - vectors.mean(axis=0)
        for text in texts:
            if text.shape[1] != centred.shape[1]:
                raise FeatureError(
                    f"the query has {text.shape[1]} values and a second {centred.shape[1]}",
                    fix="encode both with the same encoder",
                )
        return [(centred @ text[0]).astype(np.float32) for text in texts]

    def vector_of(self, rows: Features) -> Features:
        """A recording as a query: [1, dim], the direction of the mean of its seconds."""
        vectors = unit_rows(rows) if self.space is None else self.space.project_rows(rows)
        return unit_rows(vectors.mean(axis=0, keepdims=True))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityRetriever(Finder):
    """An encoder with a shared space, ready to be asked, without a network."""

    encoder: Encoder
    sound: SoundChoice = dataclasses.field(default_factory=SoundChoice)
    windows: Convention = "aligned"

    def __post_init__(self) -> None:
        if shared_space(self.encoder) is None:
            raise ConfigError(
                f"{self.encoder.name} has no space that sounds and sentences share",
                "--encoder",
                "give a network with --checkpoint, or name an encoder that has one, such as msclap-2023",
            )

    @property
    def asker(self) -> SimilarityAsker:
        """What is asked about recordings."""
        return SimilarityAsker(space=shared_space(self.encoder))

    @property
    def readout(self) -> ReadoutConfig:
        """How curves are read."""
        return READOUT

    @property
    def min_score(self) -> float:
        """What stands out of its recording is an answer; more was not calibrated."""
        return MIN_SCORE

    @property
    def made_by(self) -> dict[str, str]:
        """As `Finder.made_by`."""
        return {"model": "S0", "readout": "similarity", "encoder": self.encoder.name}

    def prepare(self, queries: Sequence[str]) -> list[Features]:
        """Each query as a vector of the shared space, [1, dim]."""
        space = shared_space(self.encoder)
        assert space is not None, "refused when it was built"
        vectors = space.project_texts(encode_texts(queries, self.encoder))
        return [vector[None] for vector in vectors]


def unit_rows(rows: Features) -> Features:
    """[row, dim], each of unit length; a row of zeros stays so."""
    norms = np.linalg.norm(rows.astype(np.float32), axis=1, keepdims=True)
    scaled: Features = (rows / np.maximum(norms, NORM_FLOOR)).astype(np.float32)
    return scaled
