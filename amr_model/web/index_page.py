"""The page of a collection: sentences or a sound in, the moments of all recordings out, by rank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from amr_model.web import markup, parts, ranking_markup
from amr_model.web.downloads import write_downloads
from amr_model.web.keeping import Keeper
from amr_model.web.searcher import Question, Searcher
from amr_model.web.searches import address, answered, sentences
from amr_model.web.telling import Refused, Tell, untold
from amr_model.web.visits import Visits

TITLE = "Find the moment"
EXPLANATION = (
    "Say in a sentence what you want to hear, or give a sound like it: you get the moments of all recordings "
    "at which it can be heard, best first."
)
SOUNDS_ALONE = (
    "Give a sound: you get the moments of all recordings that sound like it, best first. Sentences need a "
    "checkpoint, which whoever started this page did not give."
)
INVITATION = "The moments will be shown here, each on its spectrogram."
DEFAULT_TOP, MOST_TOP = 10, 30
DEFAULT_PAD_S, MOST_PAD_S = 3, 30
LISTED = 500  # recordings that can be chosen from a list; any can be named


def find(
    searcher: Searcher,
    keeper: Keeper,
    *,
    text: str = "",
    example: Path | None = None,
    only: Sequence[str] = (),
    top: int = DEFAULT_TOP,
    min_score: float = 0.0,
    pad_s: float = DEFAULT_PAD_S,
    tell: Tell = untold,
) -> str:
    """What the page shows for a search.

    What is wrong with the question becomes a message on the page.
    """

    def search(folder: Path) -> str:
        question = Question(
            sentences=sentences(text) if searcher.understands else (),
            example=example,
            only=only,
            top=top,
            min_score=min_score,
            pad_s=pad_s,
        )
        if not question.sentences and example is None:
            wanted = "sentence or sound" if searcher.understands else "sound"
            raise Refused(f"There is no {wanted} yet.", "Say or give what you want to hear.")
        found = searcher.search(question, folder, tell=tell)
        downloads = write_downloads(found.takeaway, folder)
        return ranking_markup.results(found, question, address, downloads, search=folder.name)

    asked = {
        "text": text,
        "example": None if example is None else str(example),
        "only": list(only),
        "top": top,
        "min_score": min_score,
        "pad_s": pad_s,
    }
    return answered(keeper, search, asked, given=[] if example is None else [example])


def make_page(searcher: Searcher, keeper: Keeper) -> gr.Blocks:
    """The page; visitors' files lie with the keeper."""

    def ask(
        given: str | None,
        recorded: str | None,
        earlier: str | None,
        text: str,
        only: Sequence[str] | None,
        top: int,
        min_score: float,
        pad_s: float,
        *,
        tell: Tell,
    ) -> str:
        chosen = parts.RecordingInput.chosen(given, recorded, earlier)
        return find(
            searcher,
            keeper,
            text=text,
            example=Path(chosen) if chosen else None,
            only=only or (),
            top=top,
            min_score=min_score,
            pad_s=pad_s,
            tell=tell,
        )

    invitation = markup.invitation(INVITATION)
    restored = ("text", "only", "top", "min_score", "pad_s", "example")
    visits = Visits(keeper, ask, invitation=invitation, restored=restored)
    page: gr.Blocks = gr.Blocks(title=TITLE, analytics_enabled=False)
    with page:
        parts.heading(TITLE, EXPLANATION if searcher.understands else SOUNDS_ALONE)
        with gr.Row(elem_id="form"):
            with gr.Column(min_width=280):
                with gr.Tabs():
                    with gr.Tab("Words", visible=searcher.understands):
                        query = parts.sentences_input()
                    example = parts.recording_tabs("Sound", "What sounds like this? Audio or video")
                only = _only_input()
            with gr.Column(min_width=280):
                top = parts.top_input(MOST_TOP, DEFAULT_TOP)
                with gr.Row():
                    min_score, pad_s = _score_input(searcher), _pad_input()
                buttons = parts.buttons()
        results = parts.results_box(invitation, searcher.description)
        page.load(lambda: _listed(searcher), outputs=only, show_progress="hidden")  # as the collection is now
        visits.connect(
            page,
            [buttons[0].click, query.submit],
            asked=[*example.components, query, only, top, min_score, pad_s],
            restored=[query, only, top, min_score, pad_s, example.earlier],
            results=results,
            buttons=buttons,
        )
    return page


def _only_input() -> gr.Dropdown:
    return gr.Dropdown(
        [],
        multiselect=True,
        allow_custom_value=True,  # a part of a name
        label="Only in these recordings",
        elem_id="only",
    )


def _listed(searcher: Searcher) -> Any:
    """The recordings to choose from, and how large the collection is."""
    size = ranking_markup.in_words(*searcher.size())
    return gr.update(
        choices=searcher.names()[:LISTED],
        info=f"None: all of {size}. A part of a name will do.",
    )


def _score_input(searcher: Searcher) -> gr.Slider:
    return gr.Slider(0, 1, value=searcher.min_score, step=0.01, label="Least score", elem_id="min-score")


def _pad_input() -> gr.Slider:
    return gr.Slider(0, MOST_PAD_S, value=DEFAULT_PAD_S, step=1, label="Padding (s)", elem_id="pad")
