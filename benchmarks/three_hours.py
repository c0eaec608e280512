"""Three hours of city noise, asked for what occurs in them twice and for what does not occur.

    python -m pipelines.demo --out demo
    python -m benchmarks.three_hours demo/S9-finetune/checkpoint-best.pt --out DIR

Half of the kinds of sound of `pipelines.synthetic` are mixed in twice each, in takes that no network learnt
on, at places drawn by lot; the other half is absent. `amr predict` is asked for all of them in one call, with
the checkpoint's own --min-score. Prints what is in benchmarks/long_recordings.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from amr_model.answer.stretches import iou
from benchmarks.collection import EVENT_GAIN, RATE_HZ, Kind, city_noise, run_command, take_of
from clotho_long.audio.io import write_audio
from clotho_long.core.clock import clock
from clotho_long.core.records import ScoredMoment
from clotho_long.core.seeds import generator
from pipelines.synthetic import PITCHES_HZ, SOUNDS, TEMPLATES, SyntheticSize, synthesise_sources

PIECE_S = 600.0  # of noise, synthesised at once
SLOT_S = 60  # holds one event at most
RIGHT_IOU = 0.5
SEED = 11


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """A sentence, and where what it names stands; nowhere if it is absent."""

    query: str
    moments: Sequence[ScoredMoment]


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--hours", default=3.0, show_default=True)
def main(checkpoint: Path, out: Path, hours: float) -> None:
    """Synthesise the recording, ask for everything, say what was right."""
    out.mkdir(parents=True)
    clotho, _ = synthesise_sources(out / "sources", size=SyntheticSize(num_tours=1, tour_s=1.0), seed=SEED)
    recording = out / "recording.wav"
    asked = _synthesise(recording, clotho, hours)
    (out / "queries.txt").write_text("".join(f"{one.query}\n" for one in asked))
    ran = run_command(
        "amr_model.cli", "predict", recording, "--queries", out / "queries.txt", "--checkpoint", checkpoint,
        "--encoder", "logmel", "--device", "cpu", "--json",
    )  # fmt: skip
    print(f"{hours:g} hours, {len(asked)} queries: {ran.seconds:.0f} s, peak {ran.peak_bytes / 1e9:.2f} GB")
    answers = [
        [ScoredMoment(m["start"], m["end"], m["score"]) for m in answer["moments"]] for answer in ran.objects
    ]
    _print_twice([(one, found) for one, found in zip(asked, answers, strict=True) if one.moments])
    _print_absent([(one, found) for one, found in zip(asked, answers, strict=True) if not one.moments], hours)


def _synthesise(path: Path, clotho: Path, hours: float) -> list[Asked]:
    """Write the recording; a query for each kind of sound."""
    rng = generator(SEED, "hours")
    kinds: list[Kind] = [(sound, pitch) for sound in SOUNDS for pitch in PITCHES_HZ]
    rng.shuffle(kinds)
    pieces = int(np.ceil(3600 * hours / PIECE_S))
    sound = np.concatenate([city_noise(PIECE_S, at) for at in range(pieces)])[: int(3600 * hours * RATE_HZ)]
    twice = kinds[: len(kinds) // 2]
    slots = rng.permutation(int(3600 * hours) // SLOT_S)[: 2 * len(twice)]
    if len(slots) < 2 * len(twice):
        raise click.UsageError(f"too short for all sounds: {2 * len(twice) * SLOT_S / 3600:g} hours at least")
    moments: dict[Kind, list[ScoredMoment]] = {kind: [] for kind in kinds}
    for kind, slot in zip([*twice, *twice], slots.tolist(), strict=True):
        event, onset_s = take_of(clotho, kind), slot * SLOT_S + float(rng.uniform(5, SLOT_S - 15))
        start = int(onset_s * RATE_HZ)
        sound[start : start + len(event)] += EVENT_GAIN * event
        moments[kind].append(ScoredMoment(onset_s, onset_s + len(event) / RATE_HZ, 1.0))
    write_audio(path, np.clip(sound, -1, 1), RATE_HZ)
    return [
        Asked(query=TEMPLATES[0].format(pitch=pitch, sound=name), moments=moments[name, pitch])
        for name, pitch in kinds
    ]


def _print_twice(answers: Sequence[tuple[Asked, Sequence[ScoredMoment]]]) -> None:
    exactly = found_both = first = others = 0
    for one, found in answers:
        met = [any(iou(true, moment) >= RIGHT_IOU for moment in found) for true in one.moments]
        wrong = [m for m in found if all(iou(true, m) < RIGHT_IOU for true in one.moments)]
        first += bool(found) and any(iou(true, found[0]) >= RIGHT_IOU for true in one.moments)
        found_both += all(met)
        exactly += all(met) and not wrong
        others += len(wrong)
        print(f"  {one.query!r}: true {_listed(one.moments)}; answered {_listed(found) or 'nothing found'}")
    print(
        f"twice in the recording: {len(answers)} queries; first answer right {first}, both found "
        f"{found_both}, both and nothing else {exactly}; {others} other answers"
    )


def _print_absent(answers: Sequence[tuple[Asked, Sequence[ScoredMoment]]], hours: float) -> None:
    nothing = sum(not found for _, found in answers)
    false = sum(len(found) for _, found in answers)
    for one, found in answers:
        print(f"  {one.query!r}: absent; answered {_listed(found) or 'nothing found'}")
    print(
        f"absent: {len(answers)} queries; nothing found {nothing}; "
        f"{false / len(answers) / hours:.2f} false answers an hour and query"
    )


def _listed(moments: Sequence[ScoredMoment]) -> str:
    return ", ".join(f"{clock(m.onset_s)} to {clock(m.offset_s)} ({m.score:.2f})" for m in moments[:4])


if __name__ == "__main__":
    main()
