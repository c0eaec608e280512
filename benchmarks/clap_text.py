"""Speed of the MS-CLAP text tower: one caption at a time padded to 77 tokens beside ours, in alternation.

    python -m benchmarks.clap_text
    python -m benchmarks.clap_text --annotations FILE.jsonl    # the queries of a Lighthouse-format file

The reference is the public extractor's way on the same GPT-2 with random weights of the published shape; it
is measured on fewer captions, per caption.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch

from clotho_long.core.annotations import read_queries
from clotho_long.features.encoders.msclap.text import TextTower, load_tokenizer
from clotho_long.features.encoders.msclap.weights import TEXT_PREFIX, text_shapes
from clotho_long.features.encoders.msclap_reference import padded_states, reference_gpt2
from tests.random_clap_weights import random_text_state, write_tokenizer

WORDS = [
    *(
        "a",
        "the",
        "an",
        "and",
        "while",
        "then",
        "in",
        "on",
        "over",
        "by",
        "dog",
        "bird",
        "man",
        "woman",
        "car",
    ),
    *("train", "rain", "wind", "water", "engine", "door", "footsteps", "people", "children", "metal", "loud"),
    *("distant", "quiet", "barking", "chirping", "talking", "passing", "humming", "dripping", "blowing"),
]


@click.command()
@click.option(
    "--annotations", type=click.Path(exists=True, path_type=Path), help="Else captions are made up."
)
@click.option("--captions", "count", type=int, default=512, show_default=True)
@click.option("--reference-captions", type=int, default=32, show_default=True)
@click.option("--rounds", type=int, default=3, show_default=True)
@click.option("--threads", type=int, default=torch.get_num_threads(), show_default="all cores")
@click.option("--cpu-time", is_flag=True, help="Count processor time, on a machine that others use.")
def main(
    annotations: Path | None, count: int, reference_captions: int, rounds: int, threads: int, cpu_time: bool
) -> None:
    """Measure both ways of encoding captions and print their ratio."""
    clock = time.process_time if cpu_time else time.perf_counter
    torch.set_num_threads(threads)
    captions = [query.query for query in read_queries(annotations)][:count] if annotations else made_up(count)
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder))
        tokenizer = load_tokenizer(Path(folder))
    state = random_text_state(2023)
    tower = TextTower({name: state[TEXT_PREFIX + name] for name in text_shapes()}, tokenizer).eval()
    gpt2 = reference_gpt2(state)
    reference_ms, ours_ms, deviation = float("inf"), float("inf"), 0.0
    for _ in range(rounds):
        start = clock()
        expected = [padded_states(gpt2, tokenizer, caption) for caption in captions[:reference_captions]]
        reference_ms = min(reference_ms, 1000 * (clock() - start) / len(expected))
        start = clock()
        with torch.inference_mode():
            states = tower.encode(captions)
        ours_ms = min(ours_ms, 1000 * (clock() - start) / len(captions))
        pairs = zip(states, expected, strict=False)
        deviation = max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)
    tokens = sum(map(len, states)) / len(captions)
    click.echo(
        f"{len(captions)} captions of {tokens:.1f} tokens on average; {threads} thread(s); best of {rounds}"
    )
    click.echo(f"one at a time, padded to 77: {reference_ms:.1f} ms a caption")
    click.echo(f"ours: {ours_ms:.2f} ms a caption, {reference_ms / ours_ms:.1f} times faster")
    click.echo(f"largest deviation, relative to the largest state: {deviation:.1e}")


def made_up(count: int) -> list[str]:
    """Captions of 8 to 20 words, as long as Clotho's."""
    rng = np.random.default_rng(2023)
    return [" ".join(rng.choice(WORDS, rng.integers(8, 21))).capitalize() + "." for _ in range(count)]


if __name__ == "__main__":
    main()
