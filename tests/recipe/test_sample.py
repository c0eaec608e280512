from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clotho_long.core.errors import ConfigError, ManifestError
from clotho_long.core.records import Query
from clotho_long.core.settings import load_config, override, to_plain
from clotho_long.recipe.lengths import castella_lengths
from clotho_long.recipe.records import recording_id_of
from clotho_long.recipe.sample import Candidate, sample_clip
from clotho_long.recipe.spec import (
    CLOTHO_MOMENT,
    CLOTHO_MOMENT_LONG,
    CLOTHO_MOMENT_SHORT,
    Exponential,
    MixtureSpec,
    Uniform,
)
from tests.builders import make_event, make_recipe


def candidates(count: int, seed: int = 0) -> list[Candidate]:
    lengths = np.random.default_rng(seed).integers(1, 31, count)
    return [
        Candidate(
            event_id=f"e{index:03d}", trim_onset_s=0, duration_s=float(length), caption_indices=(0, 1, 3)
        )
        for index, length in enumerate(lengths)
    ]


@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), start_s=st.sampled_from([0.0, 5.0, 1234.0]))
def test_occurrences_lie_inside_the_clip_and_never_overlap(seed: int, count: int, start_s: float) -> None:
    recipe = sample_clip(
        CLOTHO_MOMENT_LONG,
        candidates(count),
        split="train",
        background_id="Venice",
        start_s=start_s,
        seed=seed,
    )
    spans = sorted((start, start + event.duration_s) for event in recipe.events for start in event.starts_s)
    assert all(start >= 0 and end <= 300 for start, end in spans)
    assert all(end <= next_start for (_, end), (next_start, _) in itertools.pairwise(spans))
    assert len({event.event_id for event in recipe.events}) == len(recipe.events)
    assert {len(event.starts_s) for event in recipe.events} <= {1, 3, 4, 5}
    assert all(-5 <= event.foreground_db <= 5 for event in recipe.events)
    assert all(event.caption_index in (0, 1, 3) for event in recipe.events)
    assert -25 <= recipe.background_db <= -15


def test_a_clip_depends_on_nothing_but_its_name_and_the_seed() -> None:
    def draw(start_s: float, seed: int = 7) -> object:
        return sample_clip(
            CLOTHO_MOMENT_LONG,
            candidates(30),
            split="train",
            background_id="Venice",
            start_s=start_s,
            seed=seed,
        )

    first = draw(0.0)
    draw(5.0)
    assert draw(0.0) == first
    assert draw(0.0, seed=8) != first


def test_without_recurrence_every_event_sounds_once() -> None:
    for start_s in range(200):
        recipe = sample_clip(
            CLOTHO_MOMENT, candidates(50), split="test", background_id="x", start_s=float(start_s), seed=1
        )
        assert all(len(event.starts_s) == 1 for event in recipe.events)


def test_recurrence_and_gaps_follow_their_distributions() -> None:
    # clips so long that nothing is cut off, so that what is seen is what was drawn
    spec = dataclasses.replace(CLOTHO_MOMENT_LONG, clip_duration_s=1e6)
    recipe = sample_clip(spec, candidates(4000), split="train", background_id="x", start_s=0.0, seed=3)
    counts = np.array([len(event.starts_s) for event in recipe.events])
    assert len(counts) == 4000
    assert np.mean(counts > 1) == pytest.approx(0.35, abs=0.03)
    for more in (2, 3, 4):
        assert np.mean(counts[counts > 1] == 1 + more) == pytest.approx(1 / 3, abs=0.05)
    spans = sorted((s, s + event.duration_s) for event in recipe.events for s in event.starts_s)
    gaps = np.diff([0.0, *itertools.chain(*spans)])[::2]
    assert np.mean(gaps) == pytest.approx(45.0, rel=0.05)
    assert np.std(gaps) == pytest.approx(45.0, rel=0.05)  # of an exponential they are equal


def test_clips_start_at_multiples_of_the_interval_and_end_inside() -> None:
    assert CLOTHO_MOMENT_LONG.num_clips(299.9) == 0
    assert CLOTHO_MOMENT_LONG.num_clips(300.0) == 1
    assert CLOTHO_MOMENT_LONG.num_clips(304.9) == 1
    assert CLOTHO_MOMENT_LONG.num_clips(6599.0) == 1260
    assert CLOTHO_MOMENT.num_clips(6599.0) == 6540  # backgrounds.csv says so of Venice
    assert recording_id_of("Venice", 5.0, 300.0) == "Venice_5.0_305.0"


def test_impossible_settings_are_refused_when_built() -> None:
    with pytest.raises(ConfigError, match="uniform from 5 to -5 is empty"):
        Uniform(5, -5)
    with pytest.raises(ConfigError, match="not positive"):
        Exponential(0)
    with pytest.raises(ConfigError, match=r"recurrence_probability 1\.5"):
        dataclasses.replace(CLOTHO_MOMENT_LONG, recurrence_probability=1.5)
    with pytest.raises(ConfigError, match="recurrence_counts is empty"):
        dataclasses.replace(CLOTHO_MOMENT_LONG, recurrence_counts=())


def test_lengths_forgive_their_last_digit_but_not_a_sample() -> None:
    spec = dataclasses.replace(CLOTHO_MOMENT, clip_duration_s=20.0, clip_interval_s=40.0)
    assert spec.num_clips(60.0 - 1e-7) == 2
    assert spec.num_clips(1_919_999 / 32_000) == 1
    assert spec.num_clips(639_999 / 32_000) == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("clip_interval=0.05", "two clips would have one name"),
        ("clip_interval=.inf", "finite number"),
        ("gap_s.mean=.nan", "finite number"),
        ("foreground_db.low=-.inf", "finite number"),
        ("background_db.low=-1000", "background_db is beyond 200 dB"),
    ],
)
def test_settings_that_no_clip_can_have_are_refused(change: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        override(CLOTHO_MOMENT, [change])


@pytest.mark.parametrize("bad", ["../../x", "/abs/x", "..", ".hidden", "a\\b", "a\0b", "a\nb", ""])
def test_an_id_that_leads_elsewhere_cannot_be_built(bad: str) -> None:
    for build in (
        lambda: make_recipe(recording_id=bad),
        lambda: make_event(qid=bad),
        lambda: Query(qid=bad, query="q", recording_id="r", duration_s=1.0, moments=()),
        lambda: Query(qid="0", query="q", recording_id=bad, duration_s=1.0, moments=()),
    ):
        with pytest.raises(ManifestError, match="cannot name a file"):
            build()


def test_a_source_may_begin_with_a_dot_but_not_lead_elsewhere() -> None:
    assert make_event(event_id="...and then").event_id == "...and then"
    for build in (lambda: make_event(event_id="a/b"), lambda: make_recipe(background_id="../x")):
        with pytest.raises(ManifestError, match="cannot name a file"):
            build()


@pytest.mark.parametrize(
    "change", [{"start_s": float("nan")}, {"background_db": float("inf")}, {"duration_s": float("inf")}]
)
def test_a_recipe_holds_finite_numbers(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="finite number"):
        make_recipe(**change)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"start_s": -1.0}, "start_s is negative"),
        ({"split": "dev"}, "'dev' is none of the splits"),
        ({"background_db": -1000.0}, "level -1000 dB of the background"),
    ],
)
def test_a_recipe_that_cannot_be_mixed_cannot_be_built(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        make_recipe(**change)


@pytest.mark.parametrize(
    "twice", [("clip_duration=30", "clip_duration_s=10"), ("gap_s.mean=3", "gap.mean=4")]
)
def test_a_setting_in_two_spellings_is_an_error(twice: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(clip_duration_s|gap_s\.mean) is given twice, as "):
        override(CLOTHO_MOMENT_LONG, twice)
    assert override(CLOTHO_MOMENT_LONG, [twice[0], twice[0]]) == override(CLOTHO_MOMENT_LONG, twice[:1])
    settings = tmp_path / "settings.yml"
    settings.write_text("clip_duration: 30\nclip_duration_s: 10\n")
    with pytest.raises(ConfigError, match="are one setting, and both are given"):
        load_config(MixtureSpec, settings)


def test_a_setting_may_be_named_without_its_unit() -> None:
    changed: MixtureSpec = override(
        CLOTHO_MOMENT_LONG, ["clip_duration=120", "gap.mean=30", "recurrence_counts=[1]"]
    )
    assert (changed.clip_duration_s, changed.gap_s.mean, changed.recurrence_counts) == (120, 30, (1,))
    with pytest.raises(ConfigError, match=r"unknown setting clip_durations; did you mean clip_duration_s\?"):
        override(CLOTHO_MOMENT_LONG, ["clip_durations=120"])
    with pytest.raises(ConfigError, match=r"clip_duration_s: .*valid number"):
        override(CLOTHO_MOMENT_LONG, ["clip_duration=long"])


def test_a_recipe_whose_event_runs_past_the_clip_cannot_be_built() -> None:
    with pytest.raises(ManifestError, match=r"event 'dog' ends at 21\.00 s of 20 s"):
        make_recipe(make_event(starts_s=(17.0,)))
    with pytest.raises(ManifestError, match="out of order"):
        make_event(starts_s=(5.0, 1.0))
    with pytest.raises(ManifestError, match="never sounds"):
        make_event(starts_s=())


def test_short_moments_are_as_long_as_castellas_where_the_events_allow_it() -> None:
    spec = dataclasses.replace(CLOTHO_MOMENT_SHORT, clip_duration_s=1e6)
    recipe = sample_clip(spec, candidates(4000), split="train", background_id="x", start_s=0.0, seed=3)
    whole_s = {candidate.event_id: candidate.duration_s for candidate in candidates(4000)}
    assert len(recipe.events) == 4000
    for event in recipe.events:
        assert event.trimmed_s == whole_s[event.event_id]
        assert (event.cut_from_s is None) == (event.duration_s == whole_s[event.event_id])
        assert event.duration_s == round(event.duration_s)
    # of the events that are long enough for nine of ten lengths, a length is as frequent as in CASTELLA
    long_ones = np.array([event.duration_s for event in recipe.events if event.trimmed_s >= 20])
    real = castella_lengths()
    for low_s, high_s in ((0, 1), (1, 2), (2, 3), (3, 5), (5, 10), (10, 19)):
        share = np.mean((long_ones > low_s) & (long_ones <= high_s))
        assert share == pytest.approx(real.share_between(low_s, high_s), abs=0.03)


def test_the_lengths_are_those_of_the_labels() -> None:
    real = castella_lengths()
    assert (real.counts.sum(), real.values_s.min(), real.values_s.max()) == (6156, 1, 292)
    assert real.share_between(0, 3) == pytest.approx(0.465, abs=0.001)
    assert np.median(np.repeat(real.values_s, real.counts)) == 4


def test_what_a_whole_event_was_written_as_stays() -> None:
    assert "event_lengths" not in to_plain(CLOTHO_MOMENT_LONG)
    assert to_plain(CLOTHO_MOMENT_SHORT)["event_lengths"] == "castella"
    assert "cut_from_s" not in to_plain(make_event())
    assert repr(make_event()) == (
        "Event(qid='00000', event_id='dog', trim_onset_s=0, duration_s=4.0, caption_index=0, "
        "foreground_db=0.0, starts_s=(2.0,))"
    )
    cut = make_event(cut_from_s=9.0)
    assert to_plain(cut)["cut_from_s"] == 9.0
    assert repr(cut) != repr(make_event())
    assert repr(cut).endswith("cut_from_s=9.0)")


def test_an_event_is_cut_only_where_something_is_cut_off() -> None:
    with pytest.raises(ManifestError, match="'dog' of 4 s cannot be cut to 4 s"):
        make_event(cut_from_s=4.0)
    with pytest.raises(ConfigError, match="event_lengths"):
        override(CLOTHO_MOMENT_LONG, ["event_lengths=dcase"])
