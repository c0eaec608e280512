"""Who answers in `joined_recordings` once moments are read off curves: the pass of `amr_model.answer.run`.

Takes the place of `answerers.py`, whose decoder is merged by `answer_rows`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch

from amr_model.answer.run import Asker
from amr_model.checkpoint import load_calibrated
from clotho_long.core.predictions import MAX_RANKED
from clotho_long.core.settings import override
from clotho_long.core.units import Seconds
from clotho_long.features.files import Features
from pipelines.simulation.joined import Answer, Answerer


@dataclasses.dataclass(frozen=True)
class AskerAnswerer:
    """A network whose moments are those of its decoder, or read off its curve."""

    asker: Asker
    min_score: float | None  # of a calibrated curve

    def __call__(self, rows: Features, duration_s: Seconds, text: Features) -> Answer:
        (found,) = self.asker.ask(rows, duration_s, [text])
        best = found.moments[0].score if found.moments else 0.0
        calibrated = self.asker.config.inference.readout != "decoder" and found.presence is not None
        return Answer(moments=found.moments, presence=found.presence if calibrated else best)


def decoder_answerer(checkpoint: Path, stretch_rows: int, overrides: Sequence[str]) -> Answerer:
    """The decoder of a checkpoint, its windows merged over stretches of `stretch_rows`."""
    return _answerer(checkpoint, "decoder", stretch_rows, overrides, num_moments=MAX_RANKED)


def curve_answerer(checkpoint: Path, stretch_rows: int, overrides: Sequence[str]) -> Answerer:
    """What is read off the joined curve of a checkpoint: all moments, as false ones are counted."""
    return _answerer(checkpoint, "curve", stretch_rows, overrides, num_moments=None)


def _answerer(
    checkpoint: Path,
    readout: Literal["decoder", "curve"],
    stretch_rows: int,
    overrides: Sequence[str],
    *,
    num_moments: int | None,
) -> AskerAnswerer:
    network, config, calibration = load_calibrated(checkpoint, torch.device("cpu"))
    asker = Asker(
        network=network,
        config=override(
            config,
            [f"features.stretch_rows={stretch_rows}", f"inference.readout={readout}", *overrides],
        ),
        device=torch.device("cpu"),
        calibration=calibration,
        num_moments=num_moments,
    )
    fitted = calibration is not None and readout == "curve"
    return AskerAnswerer(asker, calibration.min_score if calibration is not None and fitted else None)


# By name: what makes one of a checkpoint, the rows of a stretch, and settings as `KEY=VALUE`.
ANSWERERS: dict[str, Callable[[Path, int, Sequence[str]], Answerer]] = {
    "curve": curve_answerer,
    "decoder": decoder_answerer,
}
