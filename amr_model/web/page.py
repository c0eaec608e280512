"""The page itself: a form, and what the listener answers. The one module that imports Gradio.

Works without a network: system fonts, nothing from a content-delivery network, no analytics.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from starlette.middleware import Middleware

from amr_model.web import markup
from amr_model.web.downloads import write_downloads
from amr_model.web.guard import Guard
from amr_model.web.keeping import Keeper
from amr_model.web.listener import Listener, Tell
from clotho_long.core.clock import clock
from clotho_long.core.errors import ClothoLongError
from clotho_long.core.files import write_json, write_text
from clotho_long.core.units import Seconds

TITLE = "Find the moment"
EXPLANATION = (
    "Give a recording and say in a sentence what you want to hear: you get the moments at which it can be "
    "heard, best first."
)
MAX_QUERIES = 12
DEFAULT_TOP = 5
MAX_UPLOAD_BYTES = 2_000_000_000
FONTS = ("system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
MONO_FONTS = ("ui-monospace", "Menlo", "Consolas", "monospace")
RESULTS, ASKED = "results.html", "asked.json"  # in the folder of a search: to be shown again after a reload
# the address of the page names what it shows
NAME_THE_SEARCH = """() => {
  const found = document.querySelector("#results .moments");
  history.replaceState(null, "", found ? "?search=" + found.dataset.search : location.pathname);
}"""


class _Stopped(Exception):
    """The visitor does not want the answer any more."""


def find(
    listener: Listener,
    recording: Path | None,
    text: str,
    keeper: Keeper,
    *,
    top: int = DEFAULT_TOP,
    tell: Tell = lambda doing, done_s, of_s: None,
) -> str:
    """What the page shows for a search, whose files lie in a new folder of the keeper's.

    What is wrong with the recording or the text becomes a message on the page.
    """
    queries = [line.strip() for line in text.splitlines() if line.strip()]
    if recording is None:
        return markup.message("There is no recording yet.", "Choose a file, or record one.")
    if not queries:
        return markup.message("There is no sentence yet.", "Write what you want to hear.")
    if len(queries) > MAX_QUERIES:
        return markup.message(f"These are {len(queries)} sentences.", f"Ask at most {MAX_QUERIES} at a time.")
    folder = keeper.new_search()
    try:
        with keeper.using(recording, folder):
            heard = listener.listen(recording, queries, folder, top=top, tell=tell)
            html = markup.results(heard, _address, write_downloads(heard, folder), search=folder.name)
            write_json(folder / ASKED, {"text": text, "top": top, "recording": str(recording)})
            write_text(folder / RESULTS, html)
            return html
    except _Stopped:
        problem, fix = "Stopped.", "Press the button to ask again."
    except ClothoLongError as error:
        # the name that the visitor knows, not where the file lies on this machine
        name = f"{recording.name} " if error.where == str(recording) else ""
        problem, fix = f"{name}{error.problem}.", f"{error.fix.capitalize()}." if error.fix else ""
    except OSError as error:
        problem = f"The server cannot read or write a file: {(error.strerror or str(error)).lower()}."
        fix = "Whoever runs it can put that right."
    shutil.rmtree(folder, ignore_errors=True)
    return markup.message(problem, fix)


class _Visits:
    """What the page does for its visitors, and who of them wants to be answered still."""

    def __init__(self, listener: Listener, keeper: Keeper) -> None:
        self._listener, self._keeper = listener, keeper
        self._stops: dict[str | None, threading.Event] = {}

    def begin(self, request: gr.Request) -> tuple[Any, Any]:
        """A search was asked for: it can be stopped from now on, even while it waits for others."""
        self._stops[request.session_hash] = threading.Event()
        return gr.update(interactive=False), gr.update(visible=True, interactive=True, value="Stop")

    def find(
        self,
        given: str | None,
        recorded: str | None,
        text: str,
        top: int,
        earlier: str | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> str:
        """The answer to a search; `earlier` is the recording of the search that a reload brought back."""
        stop = self._stops.get(request.session_hash) or threading.Event()

        def tell(doing: str, done_s: Seconds, of_s: Seconds | None) -> None:
            if stop.is_set():
                raise _Stopped
            share = None if of_s is None else min(done_s / max(of_s, 1e-9), 1.0)
            whole = "" if of_s is None else f" of {clock(of_s // 1)}"
            progress(share, desc=f"{doing}: {clock(done_s // 1)}{whole}" if done_s else doing)

        recording = given or recorded or earlier
        return find(
            self._listener, Path(recording) if recording else None, text, self._keeper, top=top, tell=tell
        )

    def stop(self, request: gr.Request) -> Any:
        """The search of a visitor ends at the next block of sound."""
        if (stop := self._stops.get(request.session_hash)) is not None:
            stop.set()
        return gr.update(interactive=False, value="Stopping")

    def leave(self, request: gr.Request) -> None:
        """A visitor closed the page."""
        self.stop(request)
        self._stops.pop(request.session_hash, None)

    def bring_back(self, request: gr.Request) -> tuple[Any, ...]:
        """Results, text, number of moments and recording of the search that the page's address names."""
        name = request.query_params.get("search", "")
        folder = self._keeper.find_search(name) if name else None
        if folder is None or not (folder / RESULTS).is_file():
            lost = markup.message("These results are gone.", "They are kept for an hour; ask again.")
            return lost if name else markup.invitation(), gr.skip(), gr.skip(), None
        asked = json.loads((folder / ASKED).read_text(encoding="utf-8"))
        html = (folder / RESULTS).read_text(encoding="utf-8")
        return html, asked["text"], asked["top"], asked["recording"]


def make_page(listener: Listener, keeper: Keeper) -> gr.Blocks:
    """The page; visitors' files lie with the keeper."""
    visits = _Visits(listener, keeper)
    page: gr.Blocks = gr.Blocks(title=TITLE, analytics_enabled=False)
    with page:
        gr.HTML(f"<h1>{TITLE}</h1><p>{EXPLANATION}</p>", elem_id="title", apply_default_css=False)
        with gr.Row(elem_id="form"):
            given, recorded = _recording_inputs()
            with gr.Column(min_width=280):
                query, top = _question_inputs()
                button = gr.Button("Find moments", variant="primary", elem_id="find")
                stop = gr.Button("Stop", variant="stop", elem_id="stop", visible=False)
        results = gr.HTML(
            markup.invitation(),
            elem_id="results",
            js_on_load=_asset("moments.js"),
            apply_default_css=False,
            min_height=120,
        )
        gr.HTML(markup.colophon(listener.description), elem_id="colophon", apply_default_css=False)
        earlier = gr.State(None)
        # whichever recording was given last counts
        given.upload(lambda: (None, None), outputs=[recorded, earlier], show_progress="hidden", queue=False)
        recorded.stop_recording(
            lambda: (None, None), outputs=[given, earlier], show_progress="hidden", queue=False
        )
        given.clear(lambda: None, outputs=earlier, show_progress="hidden", queue=False)
        page.load(visits.bring_back, outputs=[results, query, top, earlier], show_progress="hidden")
        page.unload(visits.leave)
        _search_events(visits, [given, recorded, query, top, earlier], query, results, button, stop)
    return page


def _recording_inputs() -> tuple[gr.File, gr.Audio]:
    with gr.Column(min_width=280), gr.Tabs():
        with gr.Tab("A file"):
            given = gr.File(label="Recording: audio or video, of any length", elem_id="recording", height=198)
        with gr.Tab("Microphone"):
            recorded = gr.Audio(
                sources=["microphone"],
                type="filepath",
                format="wav",
                label="Record",
                buttons=[],  # one of them would share the recording with the world
                elem_id="microphone",
            )
    return given, recorded


def _question_inputs() -> tuple[gr.Textbox, gr.Slider]:
    query = gr.Textbox(
        label="What do you want to hear?",
        info="One sentence a line; each is answered by itself.",
        placeholder="a dog barks twice\na tram passes by",
        lines=3,
        max_lines=MAX_QUERIES,
        elem_id="query",
    )
    top = gr.Slider(1, 10, value=DEFAULT_TOP, step=1, label="Moments for each sentence", elem_id="top")
    return query, top


def _search_events(
    visits: _Visits,
    asked: Sequence[Any],
    query: gr.Textbox,
    results: gr.HTML,
    button: gr.Button,
    stop: gr.Button,
) -> None:
    """From a click to the answer: a stop button while it lasts, and the page's address at the end."""
    begun = gr.on(
        [button.click, query.submit],
        visits.begin,
        outputs=[button, stop],
        show_progress="hidden",
        queue=False,
    )
    searched = begun.then(visits.find, inputs=list(asked), outputs=results, concurrency_limit=1)
    ended: dict[str, Any] = {"outputs": [button, stop], "show_progress": "hidden", "queue": False}
    searched.then(_at_rest, **ended).then(None, js=NAME_THE_SEARCH)
    stop.click(visits.stop, outputs=stop, show_progress="hidden", queue=False)


def _at_rest() -> tuple[Any, Any]:
    return gr.update(interactive=True), gr.update(visible=False)


@contextlib.contextmanager
def serving(
    listener: Listener,
    *,
    host: str,
    port: int,
    folder: Path,
    allow_hosts: Sequence[str] = (),
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
) -> Iterator[gr.Blocks]:
    """The page, served at an address by threads of this process until the block ends.

    Args:
        folder: where visitors' files lie until nobody has used them for an hour.
        allow_hosts: names by which requests may call the server, besides `host` and this machine's own.
        max_upload_bytes: of one file.

    Raises:
        OSError: the port is taken.
    """
    keeper = Keeper(folder)
    page = make_page(listener, keeper)
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
        css=_asset("page.css") + _timeline_css(),
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


def _address(file: Path) -> str:
    """Where the page gets a file from."""
    return f"gradio_api/file={quote(str(file))}"


def _asset(name: str) -> str:
    return (resources.files("amr_model.web") / "assets" / name).read_text(encoding="utf-8")


def _timeline_css() -> str:
    return (resources.files("amr_model.web") / "templates" / "timeline.css").read_text(encoding="utf-8")
