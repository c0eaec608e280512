"""The page itself: a form, and what the listener answers. The one module that imports Gradio.

Works without a network: system fonts, nothing from a content-delivery network, no analytics.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import gradio as gr

from amr_model.web import markup
from amr_model.web.listener import Listener
from clotho_long.core.errors import ClothoLongError

TITLE = "Find the moment"
EXPLANATION = (
    "Give a recording and say in a sentence what you want to hear: you get the moments at which it can be "
    "heard, best first."
)
MAX_QUERIES = 12
DEFAULT_TOP = 5
KEPT_S = 3600  # files that somebody gave or got stay for an hour after the last use
FONTS = ("system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
MONO_FONTS = ("ui-monospace", "Menlo", "Consolas", "monospace")

Search = Path | None  # the folder with the cuts of a visitor's last search


def find(
    listener: Listener, recording: Path | None, text: str, cuts_dir: Path, *, top: int = DEFAULT_TOP
) -> tuple[str, Search]:
    """What the page shows for a search, and the new folder below `cuts_dir` with its cuts, if there are any.

    What is wrong with the recording or the text becomes a message on the page.
    """
    queries = [line.strip() for line in text.splitlines() if line.strip()]
    if recording is None:
        return markup.message("There is no recording yet.", "Choose a file, or record one."), None
    if not queries:
        return markup.message("There is no sentence yet.", "Write what you want to hear."), None
    if len(queries) > MAX_QUERIES:
        fix = f"Ask at most {MAX_QUERIES} at a time."
        return markup.message(f"These are {len(queries)} sentences.", fix), None
    folder = Path(tempfile.mkdtemp(dir=cuts_dir))
    try:
        heard = listener.listen(recording, queries, folder, top=top)
    except ClothoLongError as error:
        _forget(folder)
        # the name that the visitor knows, not where the file lies on this machine
        name = f"{recording.name} " if error.where == str(recording) else ""
        return markup.message(
            f"{name}{error.problem}.", f"{error.fix.capitalize()}." if error.fix else ""
        ), None
    except OSError as error:
        _forget(folder)
        problem = f"The server cannot read or write a file: {(error.strerror or str(error)).lower()}."
        return markup.message(problem, "Whoever runs it can put that right."), None
    return markup.results(heard, _address), folder


def make_page(listener: Listener, cuts_dir: Path) -> gr.Blocks:
    """The page; the cuts of each search go to a folder of their own below `cuts_dir`."""

    def on_find(
        given: str | None, recorded: str | None, text: str, top: int, last: Search
    ) -> tuple[str, Search]:
        _forget(last)
        recording = given or recorded
        return find(listener, Path(recording) if recording else None, text, cuts_dir, top=top)

    page: gr.Blocks = gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT_S, KEPT_S))
    with page:
        gr.HTML(f"<h1>{TITLE}</h1><p>{EXPLANATION}</p>", elem_id="title", apply_default_css=False)
        with gr.Row(elem_id="form"):
            with gr.Column(min_width=320), gr.Tabs():
                with gr.Tab("A file"):
                    given = gr.File(
                        label="Recording: audio or video, of any length", elem_id="recording", height=198
                    )
                with gr.Tab("Microphone"):
                    recorded = gr.Audio(
                        sources=["microphone"],
                        type="filepath",
                        format="wav",
                        label="Record",
                        buttons=[],  # one of them would share the recording with the world
                        elem_id="microphone",
                    )
            with gr.Column(min_width=320):
                query = gr.Textbox(
                    label="What do you want to hear?",
                    info="One sentence a line; each is answered by itself.",
                    placeholder="a dog barks twice\na tram passes by",
                    lines=3,
                    max_lines=MAX_QUERIES,
                    elem_id="query",
                )
                top = gr.Slider(
                    1, 10, value=DEFAULT_TOP, step=1, label="Moments for each sentence", elem_id="top"
                )
                button = gr.Button("Find moments", variant="primary", elem_id="find")
        results = gr.HTML(
            markup.invitation(),
            elem_id="results",
            js_on_load=_asset("moments.js"),
            apply_default_css=False,
            min_height=120,
        )
        gr.HTML(markup.colophon(listener.description), elem_id="colophon", apply_default_css=False)
        last = gr.State(None, time_to_live=KEPT_S, delete_callback=_forget)
        # whichever was given last counts
        given.upload(lambda: None, outputs=recorded, show_progress="hidden", queue=False)
        recorded.stop_recording(lambda: None, outputs=given, show_progress="hidden", queue=False)
        gr.on(
            [button.click, query.submit],
            on_find,
            inputs=[given, recorded, query, top, last],
            outputs=[results, last],
            concurrency_limit=1,
        )
    return page


@contextlib.contextmanager
def serving(listener: Listener, *, host: str, port: int, cuts_dir: Path) -> Iterator[gr.Blocks]:
    """The page, served at an address by threads of this process until the block ends.

    Raises:
        OSError: the port is taken.
    """
    page = make_page(listener, cuts_dir)
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        allowed_paths=[str(cuts_dir)],
        theme=gr.themes.Default(
            primary_hue="indigo", neutral_hue="slate", font=list(FONTS), font_mono=list(MONO_FONTS)
        ),
        css=_asset("page.css"),
        footer_links=[],
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
    )
    try:
        yield page
    finally:
        page.close(verbose=False)


def _address(file: Path) -> str:
    """Where the page gets a file from."""
    return f"gradio_api/file={quote(str(file))}"


def _forget(folder: Search) -> None:
    """Remove the cuts of a search."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _asset(name: str) -> str:
    return (resources.files("amr_model.web") / "assets" / name).read_text(encoding="utf-8")
