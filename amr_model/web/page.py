"""The page of one recording: it is given, asked, and answers on its spectrogram."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from amr_model.web import markup, parts
from amr_model.web.downloads import write_downloads
from amr_model.web.keeping import Keeper
from amr_model.web.listener import Listener
from amr_model.web.searches import address, answered, sentences
from amr_model.web.telling import Refused, Tell, untold
from amr_model.web.visits import Visits

TITLE = "Find the moment"
EXPLANATION = (
    "Give a recording and say in a sentence what you want to hear: you get the moments at which it can be "
    "heard, best first."
)
INVITATION = "The moments will be shown here, on the recording’s spectrogram."
DEFAULT_TOP = 5


def find(
    listener: Listener,
    recording: Path | None,
    text: str,
    keeper: Keeper,
    *,
    top: int = DEFAULT_TOP,
    tell: Tell = untold,
) -> str:
    """What the page shows for a search.

    What is wrong with the recording or the text becomes a message on the page.
    """

    def search(folder: Path) -> str:
        queries = sentences(text)
        if recording is None:
            raise Refused("There is no recording yet.", "Choose a file, or record one.")
        if not queries:
            raise Refused("There is no sentence yet.", "Write what you want to hear.")
        heard = listener.listen(recording, queries, folder, top=top, tell=tell)
        downloads = write_downloads(heard.takeaway, folder)
        return markup.results(heard, address, downloads, search=folder.name)

    given = [] if recording is None else [recording]
    return answered(keeper, search, {"text": text, "top": top, "recording": str(recording)}, given=given)


def make_page(listener: Listener, keeper: Keeper) -> gr.Blocks:
    """The page; visitors' files lie with the keeper."""

    def ask(
        given: str | None, recorded: str | None, earlier: str | None, text: str, top: int, *, tell: Tell
    ) -> str:
        chosen = parts.RecordingInput.chosen(given, recorded, earlier)
        return find(listener, Path(chosen) if chosen else None, text, keeper, top=top, tell=tell)

    invitation = markup.invitation(INVITATION)
    visits = Visits(keeper, ask, invitation=invitation, restored=("text", "top", "recording"))
    page: gr.Blocks = gr.Blocks(title=TITLE, analytics_enabled=False)
    with page:
        parts.heading(TITLE, EXPLANATION)
        with gr.Row(elem_id="form"):
            with gr.Column(min_width=280), gr.Tabs():
                recording = parts.recording_tabs("A file", "Recording: audio or video, of any length")
            with gr.Column(min_width=280):
                query = parts.sentences_input()
                top = parts.top_input(10, DEFAULT_TOP)
                buttons = parts.buttons()
        results = parts.results_box(invitation, listener.description)
        visits.connect(
            page,
            [buttons[0].click, query.submit],
            asked=[*recording.components, query, top],
            restored=[query, top, recording.earlier],
            results=results,
            buttons=buttons,
        )
    return page
