"""What a page does for its visitors: each one's search can be stopped, and comes back after a reload."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from amr_model.web import markup
from amr_model.web.keeping import Keeper
from amr_model.web.searches import brought_back
from amr_model.web.telling import Stopped

# the address of the page names what it shows
NAME_THE_SEARCH = """() => {
  const found = document.querySelector("#results .moments");
  history.replaceState(null, "", found ? "?search=" + found.dataset.search : location.pathname);
}"""


class Visits:
    """Searches by visitors of a page, and who of them wants to be answered still.

    Args:
        find: gets what the form holds and whom to tell (`telling.Tell`, by the name `tell`); returns HTML.
        invitation: what is shown before anything was asked.
        restored: names of what `searches.answered` was told of the form, in the order of the components that
            get it back.
    """

    def __init__(
        self, keeper: Keeper, find: Callable[..., str], *, invitation: str, restored: Sequence[str]
    ) -> None:
        self._keeper, self._find, self._invitation, self._restored = keeper, find, invitation, restored
        self._stops: dict[str | None, threading.Event] = {}

    def begin(self, request: gr.Request) -> tuple[Any, Any]:
        """A search was asked for: it can be stopped from now on, even while it waits for others."""
        self._stops[request.session_hash] = threading.Event()
        return gr.update(interactive=False), gr.update(visible=True, interactive=True, value="Stop")

    def find(
        self,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
        *asked: Any,
    ) -> str:
        """The answer to a search."""
        stop = self._stops.get(request.session_hash) or threading.Event()

        def tell(doing: str, share: float | None) -> None:
            if stop.is_set():
                raise Stopped
            progress(share, desc=doing)

        return self._find(*asked, tell=tell)

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
        """The results that the page's address names, and what the form held when they were asked for."""
        name = request.query_params.get("search", "")
        earlier = brought_back(self._keeper, name) if name else None
        if earlier is None:
            lost = markup.message("These results are gone.", "They are kept for an hour; ask again.")
            return lost if name else self._invitation, *(gr.skip() for _ in self._restored)
        html, asked = earlier
        return html, *(asked[name] for name in self._restored)

    def connect(
        self,
        page: gr.Blocks,
        triggers: Sequence[Any],
        *,
        asked: Sequence[Any],
        restored: Sequence[Any],
        results: gr.HTML,
        buttons: tuple[gr.Button, gr.Button],
    ) -> None:
        """From a click to the answer: a stop button while it lasts, and the page's address at the end.

        Args:
            triggers: events that ask.
            asked: components whose values `find` gets.
            restored: components that get their values back.
            buttons: which asks, and which stops.
        """
        button, stop = buttons
        page.load(self.bring_back, outputs=[results, *restored], show_progress="hidden")
        page.unload(self.leave)
        begun = gr.on(list(triggers), self.begin, outputs=[button, stop], show_progress="hidden", queue=False)
        searched = begun.then(self.find, inputs=list(asked), outputs=results, concurrency_limit=1)
        ended: dict[str, Any] = {"outputs": [button, stop], "show_progress": "hidden", "queue": False}
        searched.then(_at_rest, **ended).then(None, js=NAME_THE_SEARCH)
        stop.click(self.stop, outputs=stop, show_progress="hidden", queue=False)


def _at_rest() -> tuple[Any, Any]:
    return gr.update(interactive=True), gr.update(visible=False)
