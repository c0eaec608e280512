"""The command that serves the web page."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
import tempfile
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amr_model.cli.options import (
    CHECKPOINT,
    CHECKPOINT_HELP,
    EXISTING_FOLDER,
    WEIGHTS,
    chosen_device,
    device_option,
    made_by_of,
    made_by_sound,
    need_checkpoint,
    set_option,
)
from amr_model.cli.retrieval import finder_for
from clotho_long.core.command_line import common_options, set_up_logging, sound_options
from clotho_long.core.errors import ConfigError
from clotho_long.core.extras import require_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import gradio as gr
    import torch

    from amr_model.answer.finder import Finder
    from amr_model.web.keeping import Keeper

    MakePage = Callable[[Keeper], gr.Blocks]


@click.command()
@click.argument("index_folder", metavar="[INDEX]", required=False, type=EXISTING_FOLDER)
@click.option(
    "--checkpoint",
    type=CHECKPOINT,
    help=f"{CHECKPOINT_HELP}  [default: none, the encoder's own similarity answers (S0)]",
)
@click.option("--encoder", help="Encoder of the features.  [default: the checkpoint's, or the index's]")
@click.option("--weights", type=WEIGHTS, help="Weights of the encoder.  [default: those found or downloaded]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=7860, show_default=True, help="Port to listen on."
)
@sound_options
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="Another name by which browsers may call the server, such as a proxy's; may be repeated.",
)
@click.option(
    "--max-upload",
    type=click.FloatRange(0, 1000, min_open=True),
    default=2.0,
    show_default=True,
    metavar="GB",
    help="Largest recording that can be given, in gigabytes.",
)
@set_option
@device_option
@common_options
@click.pass_context
def serve(
    context: click.Context,
    *,
    index_folder: Path | None,
    checkpoint: str | None,
    encoder: str | None,
    weights: Path | None,
    host: str,
    port: int,
    channels: Any,
    track: int | None,
    allow_hosts: tuple[str, ...],
    max_upload: float,
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Serve a web page: choose or record a recording, ask, see and hear the moments.

    With INDEX, a folder that `amr index` made, the page asks all of its recordings at once, in words or by a
    sound. Without --checkpoint the encoder's own similarity answers (S0), if it can.

    Needs `pip install '.[web]'`, and no network. Only this machine can reach the page, unless --host names
    another address; there is no password. Requests that other sites send are refused, and so are those that
    call the server by a name that it was not given.

    \b
    For example:
      amr serve --checkpoint run/checkpoint-best.pt --weights CLAP_weights_2023.pth
      amr serve heard --checkpoint run/checkpoint-best.pt
    """
    from amr_model.web.keeping import scratch_folder

    set_up_logging(quiet=quiet)
    require_package("gradio")
    if index_folder is not None:
        for name in ("encoder", "channels", "track"):
            if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
                raise click.UsageError(f"--{name} was settled when the index was made: leave it out")
    _refuse_taken_port(host, port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being stopped is an end like Ctrl-C
    with scratch_folder() as folder, _settled_gradio(folder), contextlib.suppress(KeyboardInterrupt):
        from amr_model.web.guard import LOOPBACK
        from amr_model.web.serving import serving

        where = chosen_device(device, jobs)
        if index_folder is not None:
            make_page = _index_page(index_folder, checkpoint, weights, where, overrides)
        else:
            from clotho_long.audio.choice import SoundChoice

            sound = SoundChoice(channels=channels, track=track)
            finder, _ = finder_for(
                checkpoint, where, encoder=encoder, weights=weights, sound=sound, overrides=overrides
            )
            make_page = _recording_page(finder)
        if host not in LOOPBACK:
            click.echo(f"warning: whoever reaches {host} can use this page; there is no password", err=True)
        with serving(
            make_page,
            host=host,
            port=port,
            folder=folder,
            allow_hosts=allow_hosts,
            max_upload_bytes=round(max_upload * 1e9),
        ):
            click.echo(f"http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)")
            threading.Event().wait()


def _recording_page(finder: Finder) -> MakePage:
    """The page of one recording, which visitors give."""
    from amr_model.web.listener import Listener
    from amr_model.web.page import make_page

    return functools.partial(make_page, Listener(finder))


def _index_page(
    folder: Path,
    checkpoint: str | None,
    weights: Path | None,
    device: torch.device,
    overrides: tuple[str, ...],
) -> MakePage:
    """The page of a collection."""
    from amr_model.config import override_answering
    from amr_model.index.opening import open_index
    from amr_model.web.index_page import make_page
    from amr_model.web.searcher import Searcher

    need_checkpoint(checkpoint, {"--set": overrides})
    index = open_index(
        folder,
        checkpoint=checkpoint,
        weights=weights,
        device=device,
        adjust=lambda config: override_answering(config, overrides),
    )
    made_by = None if index.finder is None else made_by_of(index.finder, checkpoint)
    searcher = Searcher(index, made_by=made_by, made_by_sound=made_by_sound(index.encoder))
    return functools.partial(make_page, searcher)


@contextlib.contextmanager
def _settled_gradio(folder: Path) -> Iterator[None]:
    """What Gradio reads when it is imported: it reports to nobody and asks nobody for newer versions.

    Meanwhile what visitors give lies in `folder` beside what they get, readable by this user alone, and goes
    with it; so does what is half uploaded.
    """
    uploads = folder / "uploads"
    uploads.mkdir(mode=0o700)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio asks itself whether it has started
    warnings.filterwarnings("ignore", module="gradio")  # how it uses its own dependencies
    before = tempfile.tempdir
    os.environ["GRADIO_TEMP_DIR"] = tempfile.tempdir = str(uploads)
    try:
        yield
    finally:  # the folder goes: nobody is to write there any more
        tempfile.tempdir = before
        del os.environ["GRADIO_TEMP_DIR"]


def _refuse_taken_port(host: str, port: int) -> None:
    """Before a model is loaded for nothing."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:  # UnicodeError: no host can be called that
        reason = error.strerror if isinstance(error, OSError) else "not the name of a host"
        raise ConfigError(
            f"cannot listen on port {port} ({reason})", host, "give another --port or --host"
        ) from None


COMMANDS = (serve,)
