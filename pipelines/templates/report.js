// A click on a moment plays it; a line over the timeline shows where the sound is.
for (const example of document.querySelectorAll(".example")) {
  const audio = example.querySelector("audio");
  if (!audio) continue;
  const heads = [...example.querySelectorAll(".playhead")];
  let stopAt = Infinity;
  const playFrom = (start, end) => {
    stopAt = end;
    audio.currentTime = start;
    audio.play();
  };
  for (const button of example.querySelectorAll(".mark")) {
    button.addEventListener("click", () => playFrom(Number(button.dataset.at), Number(button.dataset.end)));
  }
  const spectrogram = example.querySelector(".picture");
  spectrogram?.addEventListener("click", (event) => {
    const box = spectrogram.getBoundingClientRect();
    playFrom(((event.clientX - box.left) / box.width) * Number(audio.dataset.duration), Infinity);
  });
  audio.addEventListener("timeupdate", () => {
    if (audio.currentTime >= stopAt) { audio.pause(); stopAt = Infinity; }
    for (const head of heads) {
      head.hidden = false;
      head.style.left = `${(100 * audio.currentTime) / Number(audio.dataset.duration)}%`;
    }
  });
}
