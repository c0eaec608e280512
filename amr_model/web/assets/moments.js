// Runs once, with `element` the box of the results: its content is replaced, the listeners stay.
const player = () => element.querySelector("audio");

function select(moment) {
  for (const old of element.querySelectorAll(".active")) old.classList.remove("active");
  for (const line of element.querySelectorAll(".playhead")) line.hidden = true;
  const article = moment.closest("article");
  for (const same of article.querySelectorAll(`[data-rank="${moment.dataset.rank}"]`)) same.classList.add("active");
  element.querySelector(".playing").textContent = moment.dataset.title;
}

function play(moment) {
  const audio = player();
  select(moment);
  audio.src = moment.dataset.cut;
  audio.play().catch((error) => {
    // a second click interrupts the first: no failure
    if (error.name !== "AbortError") element.querySelector(".hint").textContent = `Cannot be played: ${error.message}`;
  });
}

function follow() {
  const mark = element.querySelector(".mark.active");
  if (!mark) return;
  const line = mark.closest(".lane").querySelector(".playhead");
  const place = Number(mark.dataset.onset) + player().currentTime * Number(mark.dataset.second);
  line.style.left = `${100 * place}%`;
  line.hidden = false;
  if (!player().paused) requestAnimationFrame(follow);
}

element.addEventListener("click", (event) => {
  const moment = event.target.closest("[data-cut]");
  if (moment) play(moment);
});

// events of a player do not bubble
for (const name of ["play", "seeked", "ended"]) element.addEventListener(name, follow, true);
