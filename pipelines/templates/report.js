// A click on a moment plays it; a line over the timeline shows where the sound is.
for (const example of document.querySelectorAll(".example")) {
  const audio = example.querySelector("audio");
  if (!audio) continue;
  const lanes = [...example.querySelectorAll(".lane:not(.axis)")];
  const heads = lanes.map((lane) => {
    const head = document.createElement("div");
    head.className = "playhead";
    lane.append(head);
    return head;
  });
  let stopAt = Infinity;
  const playFrom = (start, end) => {
    stopAt = end;
    audio.currentTime = start;
    audio.play();
  };
  for (const button of example.querySelectorAll("button")) {
    button.addEventListener("click", () => playFrom(Number(button.dataset.at), Number(button.dataset.end)));
  }
  const spectrogram = example.querySelector(".spectrogram");
  spectrogram?.addEventListener("click", (event) => {
    const box = spectrogram.getBoundingClientRect();
    playFrom(((event.clientX - box.left) / box.width) * Number(audio.dataset.duration), Infinity);
  });
  audio.addEventListener("timeupdate", () => {
    if (audio.currentTime >= stopAt) { audio.pause(); stopAt = Infinity; }
    for (const head of heads) {
      head.style.display = "block";
      head.style.left = `${(100 * audio.currentTime) / Number(audio.dataset.duration)}%`;
    }
  });
}
