// Keeps an open page about an order true. The server has every word and every rule: when something has changed, the
// page is read again and the parts that differ are exchanged. Seconds count from the server's word, never from the
// device's clock.

const SLOW = 20; // seconds that one question may wait for news
const MOST = 30; // seconds between two tries when the shop cannot be reached
const THANKS = 2000; // milliseconds to see that it is paid
const UNITS = [["day", 86400, 172800], ["hour", 3600, 7200], ["minute", 60, 120], ["second", 1, 0]]; // seconds; from when

const live = () => document.getElementById("live");
const page = () => live().dataset.page ?? location.href;
const sleep = (seconds, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), done()));
  });

// An earlier payment has held up the one that was asked for: not before so many seconds is it asked for again.
let after = Number(live().dataset.after ?? Infinity);
let endsAt = 0;
let hurry = new AbortController();

function setClock() {
  endsAt = performance.now() + live().dataset.seconds * 1000;
}

function showClock() {
  const shown = document.querySelector("[data-left]");
  if (!shown) return;
  const left = Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
  const [unit, size] = UNITS.find(([, , from]) => left >= from);
  const words = new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: "long" });
  shown.textContent = words.format(Math.ceil(left / size));
  document.querySelector("progress").value = left;
  if (left) return;
  delete shown.dataset.left; // ask once
  askNow();
}

function goOn() {
  const wanted = document.getElementById("wanted");
  if (!wanted || performance.now() < after * 1000) return;
  after = Infinity; // ask once
  wanted.submit();
}

function exchange(fresh) {
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!other || (other.dataset.state ?? other.innerHTML) === (part.dataset.state ?? part.innerHTML)) continue;
    const typed = [...part.querySelectorAll("input:not([type=hidden]):not([readonly]), select")];
    part.className = other.className;
    part.innerHTML = other.innerHTML;
    for (const { id, value } of typed) if (document.getElementById(id)) document.getElementById(id).value = value;
    if (other.dataset.state) part.dataset.state = other.dataset.state;
  }
}

async function readAgain() {
  const answer = await fetch(page(), { cache: "no-store" });
  if (answer.status >= 500) throw new Error("busy");
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const now = fresh.getElementById("live");
  // A form that leads out of the shop is allowed only where the page has come with it.
  if (!now || (now.dataset.leads && !live().dataset.leads)) return location.replace(page());
  const before = live().dataset.situation;
  Object.assign(live().dataset, now.dataset);
  document.title = fresh.title;
  exchange(fresh);
  setClock();
  const { situation, order } = now.dataset;
  if (order && situation === "paid" && before !== "paid") setTimeout(() => location.replace(order), THANKS);
}

async function ask(signal) {
  const { status, version, wait } = live().dataset;
  const answer = await fetch(`${status}?since=${version}&wait=${Math.min(wait, SLOW)}`, { cache: "no-store", signal });
  if (answer.status === 404) return location.replace(page());
  if (!answer.ok) throw new Error("busy");
  const news = await answer.json();
  if (String(news.version) !== version || wait < SLOW) await readAgain();
}

async function watch() {
  let failures = 0;
  while (Number(live().dataset.wait)) {
    hurry = new AbortController();
    const { signal } = hurry;
    try {
      await ask(signal);
      failures = 0;
    } catch {
      if (signal.aborted) await readAgain().catch(() => {});
      else await sleep(Math.min(MOST, 2 ** failures++), signal);
    }
  }
}

function askNow() {
  hurry.abort();
}

setClock();
setInterval(showClock, 1000);
setInterval(goOn, 250);
addEventListener("pageshow", (event) => event.persisted && askNow());
document.addEventListener("visibilitychange", () => document.hidden || askNow());
watch();
