"""A page, served by threads of this process.

Works without a network: system fonts, nothing from a content-delivery network, no analytics.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware

from amr_model.web.guard import Guard
from amr_model.web.keeping import Keeper
from amr_model.web.parts import asset

MAX_UPLOAD_BYTES = 2_000_000_000
FONTS = ("system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
MONO_FONTS = ("ui-monospace", "Menlo", "Consolas", "monospace")


@contextlib.contextmanager
def serving(
    make_page: Callable[[Keeper], gr.Blocks],
    *,
    host: str,
    port: int,
    folder: Path,
    allow_hosts: Sequence[str] = (),
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
) -> Iterator[gr.Blocks]:
    """The page, served at an address until the block ends.

    Of this machine's files it gives out those of searches alone, and to each visitor what they uploaded.

    Args:
        make_page: gets the keeper of visitors' files.
        folder: where these lie until nobody has used them for an hour.
        allow_hosts: names by which requests may call the server, besides `host` and this machine's own.
        max_upload_bytes: of one file.

    Raises:
        OSError: the port is taken.
    """
    keeper = Keeper(folder)
    page = make_page(keeper)
    guard = Middleware(Guard, host=host, allowed=tuple(allow_hosts), max_upload_bytes=max_upload_bytes)
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        allowed_paths=[str(keeper.searches)],
        max_file_size=max_upload_bytes,
        app_kwargs={"middleware": [guard]},
        theme=gr.themes.Default(
            primary_hue="indigo", neutral_hue="slate", font=list(FONTS), font_mono=list(MONO_FONTS)
        ),
        css=asset("page.css") + _timeline_css(),
        footer_links=[],
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
    )
    try:
        with keeper.sweeping():
            yield page
    finally:
        page.close(verbose=False)


def _timeline_css() -> str:
    return (resources.files("amr_model.web") / "templates" / "timeline.css").read_text(encoding="utf-8")
