"""One draw of a clip: numbers only, no audio is read.

With recurrence off this is the published sampler of Clotho-Moment (Lighthouse-Wrapper fdce40e,
`5_create_recipe.py`); recurrence is our reconstruction of Clotho-Moment-Long from its report.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic.dataclasses import dataclass

from clotho_long.core.seeds import generator
from clotho_long.core.units import Seconds
from clotho_long.recipe.lengths import castella_lengths
from clotho_long.recipe.records import ClipRecipe, Event, recording_id_of
from clotho_long.recipe.spec import MixtureSpec

QID_PENDING = "pending"  # qids count over the whole corpus, so they come when every clip is drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An event that may be drawn."""

    event_id: str
    trim_onset_s: int | None
    duration_s: Seconds
    caption_indices: tuple[int, ...]  # of the captions that are not empty


def sample_clip(
    spec: MixtureSpec,
    candidates: Sequence[Candidate],
    *,
    split: str,
    background_id: str,
    start_s: Seconds,
    seed: int,
) -> ClipRecipe:
    """Draw one clip from its own random stream, named by the seed, the split and the clip.

    t = 0; go through the candidates in random order; each wants r occurrences, a gap before every one, and
    sum(gaps) + r * duration seconds; the first that does not fit ends the clip, all others are placed whole.
    """
    recording_id = recording_id_of(background_id, start_s, spec.clip_duration_s)
    rng = generator(seed, "clip", split, recording_id)
    background_db = spec.background_db.sample(rng)
    events = []
    time_s = 0.0
    for index in rng.permutation(len(candidates)):
        candidate = candidates[index]
        gaps_s = spec.gap_s.sample(rng, _num_occurrences(spec, rng))
        duration_s = _sounding_s(spec, candidate, rng)
        starts_s = _starts(time_s, gaps_s, duration_s)
        time_s = starts_s[-1] + duration_s
        if time_s > spec.clip_duration_s:
            break
        events.append(
            Event(
                qid=QID_PENDING,
                event_id=candidate.event_id,
                trim_onset_s=candidate.trim_onset_s,
                duration_s=duration_s,
                caption_index=int(rng.choice(candidate.caption_indices)),
                foreground_db=spec.foreground_db.sample(rng),
                starts_s=starts_s,
                cut_from_s=candidate.duration_s if duration_s < candidate.duration_s else None,
            )
        )
    return ClipRecipe(
        recording_id=recording_id,
        split=split,
        background_id=background_id,
        start_s=start_s,
        duration_s=spec.clip_duration_s,
        background_db=background_db,
        sample_rate_hz=spec.sample_rate_hz,
        events=tuple(events),
    )


def _num_occurrences(spec: MixtureSpec, rng: np.random.Generator) -> int:
    if rng.random() >= spec.recurrence_probability:
        return 1
    return 1 + int(rng.choice(spec.recurrence_counts))


def _sounding_s(spec: MixtureSpec, candidate: Candidate, rng: np.random.Generator) -> Seconds:
    """How much of the event sounds at each occurrence; draws nothing where events stay whole."""
    if spec.event_lengths is None:
        return candidate.duration_s
    return min(castella_lengths().sample(rng), candidate.duration_s)


def _starts(time_s: Seconds, gaps_s: Sequence[Seconds], duration_s: Seconds) -> tuple[Seconds, ...]:
    """Where each occurrence starts: a gap after the end of the one before."""
    starts = []
    for gap_s in gaps_s:
        starts.append(time_s + gap_s)
        time_s = starts[-1] + duration_s
    return tuple(starts)
