// Nobody tells whether a wallet that was opened did well. So when the shopper sees the page again, the channel is asked at
// once, and while they see it, what else can be done unfolds. And it copies what is to be taken elsewhere.

const PATIENCE = 4000; // milliseconds that a wallet may take to open
const SHOWN = 2000; // milliseconds to see that it is copied

const fallback = () => document.querySelector("[data-fallback]");

// Kept with this entry of the browser's history: coming back to it by reload or back button is seeing it again.
function remember() {
  history.replaceState({ launched: fallback()?.dataset.fallback }, "");
  setTimeout(unfold, PATIENCE);
}

const hasLaunched = () => fallback() && history.state?.launched === fallback().dataset.fallback;
let isBack = true; // or on a page that was loaded again

function unfold() {
  if (!document.hidden && hasLaunched()) fallback().open = true;
}

function comeBack() {
  unfold();
  if (!document.hidden && isBack && hasLaunched()) dispatchEvent(new Event("returned")); // once
  isBack = document.hidden;
}

async function copy(button) {
  const shown = document.getElementById(button.dataset.copy);
  const text = shown.value ?? shown.textContent.replace(/\s|\./g, "");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return shown.select ? shown.select() : getSelection().selectAllChildren(shown); // to be copied by hand
  }
  const usual = button.textContent;
  button.textContent = button.dataset.done;
  setTimeout(() => (button.textContent = usual), SHOWN);
}

addEventListener("click", ({ target }) => {
  if (target.closest("[data-launch]")) remember();
  const button = target.closest("[data-copy]");
  if (button && button.textContent !== button.dataset.done) copy(button);
});
addEventListener("pageshow", comeBack);
document.addEventListener("visibilitychange", comeBack);
