"""What both pages are made of, in Gradio's components."""

from __future__ import annotations

import dataclasses
from importlib import resources
from typing import Any

import gradio as gr

from amr_model.web import markup
from amr_model.web.searches import MAX_QUERIES


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecordingInput:
    """A recording from a file, from the microphone, or of the search that a reload brought back."""

    given: gr.File
    recorded: gr.Audio
    earlier: gr.State

    @property
    def components(self) -> tuple[Any, ...]:
        """Their values, in this order, are what `chosen` takes."""
        return self.given, self.recorded, self.earlier

    @staticmethod
    def chosen(given: str | None, recorded: str | None, earlier: str | None) -> str | None:
        """Where the recording lies that counts."""
        return given or recorded or earlier


def heading(title: str, explanation: str) -> gr.HTML:
    """What stands above the form."""
    return gr.HTML(markup.heading(title, explanation), elem_id="title", apply_default_css=False)


def recording_tabs(file_tab: str, label: str) -> RecordingInput:
    """Two tabs; whichever recording was given last counts. To be called within `gr.Tabs`."""
    with gr.Tab(file_tab):
        given = gr.File(label=label, elem_id="recording", height=198)
    with gr.Tab("Microphone"):
        recorded = gr.Audio(
            sources=["microphone"],
            type="filepath",
            format="wav",
            label="Record",
            buttons=[],  # one of them would share the recording with the world
            elem_id="microphone",
        )
    earlier = gr.State(None)
    quick: dict[str, Any] = {"show_progress": "hidden", "queue": False}
    given.upload(lambda: (None, None), outputs=[recorded, earlier], **quick)
    recorded.stop_recording(lambda: (None, None), outputs=[given, earlier], **quick)
    given.clear(lambda: None, outputs=earlier, **quick)
    return RecordingInput(given=given, recorded=recorded, earlier=earlier)


def sentences_input() -> gr.Textbox:
    """Where sentences are written."""
    return gr.Textbox(
        label="What do you want to hear?",
        info="One sentence a line; each is answered by itself.",
        placeholder="a dog barks twice\na tram passes by",
        lines=3,
        max_lines=MAX_QUERIES,
        elem_id="query",
    )


def top_input(most: int, value: int) -> gr.Slider:
    """How many moments are wanted."""
    return gr.Slider(1, most, value=value, step=1, label="Moments for each sentence", elem_id="top")


def buttons() -> tuple[gr.Button, gr.Button]:
    """Which asks, and which stops."""
    return (
        gr.Button("Find moments", variant="primary", elem_id="find"),
        gr.Button("Stop", variant="stop", elem_id="stop", visible=False),
    )


def results_box(invitation: str, description: str) -> gr.HTML:
    """Where results are shown, and below them what made them."""
    results = gr.HTML(
        invitation,
        elem_id="results",
        js_on_load=asset("moments.js"),
        apply_default_css=False,
        min_height=120,
    )
    gr.HTML(markup.colophon(description), elem_id="colophon", apply_default_css=False)
    return results


def asset(name: str) -> str:
    """A style sheet or a script of ours."""
    return (resources.files("amr_model.web") / "assets" / name).read_text(encoding="utf-8")
