// Keeps an open page about an order true. The server has every word and rule: on any change the page is read
// again and what differs is exchanged. Seconds count from its word, never from the device's clock.

const SLOW = 20; // seconds that one question may wait for news
const MOST = 30; // seconds between two tries while the shop is away
const OPENS = 5; // seconds that a socket may take to say its first word
const DEAF = 45; // seconds without a word of a socket that speaks every 20
const REST = [15, 300]; // seconds that a way which failed is left alone: at first, at most
const PATIENCE = 15; // seconds that an answer may take; the channel is asked meanwhile
const MISSES = 3; // tries in vain before the page says so
const PAUSE = 2; // seconds between two looks when the time is over
const SLEPT = 10; // seconds between two ticks of a seen page: the device slept
const SEEN = 5; // seconds that a press in vain is answered for
const THANKS = 2000; // milliseconds to see that it is paid
const FOCUSABLE = "button, a[href], summary, input:not([type=hidden])"; // what the keyboard goes on from
const UNITS = [["day", 86400, 172800], ["hour", 3600, 7200], ["minute", 60, 120], ["second", 1, 0]]; // seconds; from when

const live = () => document.getElementById("live");
const page = () => live().dataset.page ?? location.href.split("#")[0]; // a place in it would load nothing
const now = () => performance.now() / 1000;
const jitter = (seconds) => seconds * (0.5 + Math.random());
const sleep = (seconds, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), done()));
  });

// To the page as a new one; nothing is asked meanwhile.
function leave() {
  location.replace(page());
  return sleep(MOST, hurry.signal);
}

// An answer that never comes is none: the connection may be dead without knowing.
async function get(address, { signal, patience = PATIENCE, ...options } = {}) {
  const limit = new AbortController();
  const end = () => limit.abort();
  const timer = setTimeout(end, patience * 1000);
  signal?.addEventListener("abort", end);
  try {
    const answer = await fetch(address, { cache: "no-store", signal: limit.signal, ...options });
    return { ok: answer.ok, status: answer.status, text: await answer.text() };
  } finally {
    clearTimeout(timer);
  }
}

// An earlier payment holds up the wanted one: it is asked for again after so many seconds.
let after = Number(live().dataset.after ?? Infinity);
let endsAt = 0;
let hurry = new AbortController();
let reading, readAt, tickedAt = Date.now(); // of the device, compared with itself only
let misses = 0;
let missedAt = -Infinity; // a press in vain
let isChecking = false;

function setClock() {
  readAt = now();
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
  if (left || now() - readAt < PAUSE) return;
  readAt = now();
  readAgain().catch(() => {}); // until the server says so, too
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
    const hasFocus = part.contains(document.activeElement);
    const typed = [...part.querySelectorAll("input:not([type=hidden]):not([readonly]), select")];
    part.className = other.className;
    part.innerHTML = other.innerHTML;
    for (const { id, value } of typed) if (document.getElementById(id)) document.getElementById(id).value = value;
    if (other.dataset.state) part.dataset.state = other.dataset.state;
    if (!hasFocus) continue;
    part.tabIndex = -1; // where nothing in it can be pressed
    (part.querySelector(FOCUSABLE) ?? part).focus();
  }
}

// One at a time: no earlier answer takes the place of a later one.
function readAgain() {
  const mine = (reading ??= read().finally(() => reading === mine && (reading = undefined)));
  return mine;
}

async function read() {
  const answer = await get(page(), { signal: hurry.signal });
  if (answer.status >= 500) throw new Error("busy");
  missedAt = -Infinity;
  reached();
  const fresh = new DOMParser().parseFromString(answer.text, "text/html");
  const other = fresh.getElementById("live");
  // A form that leads out of the shop is allowed only where the page has come with it.
  const speaks = fresh.documentElement.lang === document.documentElement.lang; // or was switched in another tab
  if (!other || !speaks || (other.dataset.leads && !live().dataset.leads)) return leave();
  const before = live().dataset.situation;
  Object.assign(live().dataset, other.dataset);
  live().className = other.className;
  document.title = fresh.title;
  exchange(fresh);
  // Notes tell how it stood before.
  if (other.dataset.situation !== before) for (const note of document.querySelectorAll("[data-note]")) note.remove();
  setClock();
  const { situation, order } = other.dataset;
  if (order && situation === "paid" && before !== "paid") setTimeout(() => location.replace(order), THANKS);
}

// ---- three ways to hear of news; one at a time ----

async function hear(version) {
  // Again, when the reading had begun before the news.
  for (let tries = 0; tries < 2 && version > live().dataset.version; tries++) await readAgain();
}

function listen(signal) {
  return new Promise((done, failed) => {
    const socket = new WebSocket(new URL(live().dataset.socket, location.href.replace("http", "ws")));
    const end = (settle) => (clearTimeout(timer), socket.close(), settle());
    let settle = failed; // until it has said something
    let timer = setTimeout(() => end(settle), OPENS * 1000);
    socket.onmessage = ({ data }) => {
      clearTimeout(timer);
      settle = done;
      timer = setTimeout(() => end(settle), DEAF * 1000);
      reached();
      hear(JSON.parse(data).version).catch(() => end(failed));
    };
    socket.onclose = () => end(settle);
    signal.addEventListener("abort", () => end(failed));
  }).then(() => sleep(jitter(1), signal)); // with many others, if the server has gone
}

async function linger(signal) {
  if (Number(live().dataset.wait)) return ask(SLOW, signal);
  await sleep(MOST, signal); // nothing changes soon
  if (!signal.aborted) await ask(0, signal);
}

async function glance(signal) {
  await sleep(jitter(Math.min(MOST, 2 ** glancing.failures)), signal);
  if (!signal.aborted) await ask(0, signal);
  glancing.failures++; // the calmer, the longer nothing happens
}

async function ask(wait, signal) {
  const { status, version } = live().dataset;
  const answer = await get(`${status}?since=${version}&wait=${wait}`, { signal, patience: wait + PATIENCE });
  if (answer.status === 404) return leave();
  if (!answer.ok) throw new Error("busy");
  reached();
  await hear(JSON.parse(answer.text).version);
}

const ways = [listen, linger, glance].map((use) => ({ use, failures: 0, from: 0 }));
const glancing = ways[2];

async function watch() {
  for (;;) {
    hurry = new AbortController();
    const way = ways.find(({ from }) => now() >= from) ?? glancing;
    try {
      await way.use(hurry.signal);
      if (way !== glancing) way.failures = glancing.failures = 0;
    } catch {
      if (!hurry.signal.aborted) miss(way);
    }
    if (hurry.signal.aborted) await readAgain().catch(() => {});
  }
}

function miss(way) {
  const [first, most] = REST;
  if (way === glancing) misses++;
  else way.from = now() + jitter(Math.min(most, first * 2 ** way.failures));
  way.failures++;
  if (misses >= MISSES) showAway(true);
}

// The shop answers: what did not work may work now.
function reached() {
  if (now() - missedAt > SEEN) showAway(false);
  if (misses) forgive();
  misses = 0;
}

function forgive() {
  for (const way of ways) Object.assign(way, { failures: 0, from: 0 });
}

function showAway(isAway) {
  document.querySelector("[data-away]").hidden = !isAway;
}

// Somebody looks again, or the network is back: what was open may be dead.
function comeAgain() {
  tickedAt = Date.now();
  forgive();
  reading = undefined; // it ends with the others
  hurry.abort();
}

function tick() {
  const hasSlept = Date.now() - tickedAt > SLEPT * 1000;
  tickedAt = Date.now();
  showClock();
  if (document.hidden) return;
  const wait = Number(live().dataset.wait);
  if (hasSlept) comeAgain();
  else if (wait && wait < SLOW && !misses && now() - readAt >= wait) (readAt = now()), readAgain().catch(() => {});
}

// ---- "I have paid": asked in place, by a press or on coming back from a wallet ----

async function check(form, isPressed) {
  if (isChecking) return;
  isChecking = true;
  const button = form.querySelector("button");
  const usual = button.textContent;
  button.setAttribute("aria-disabled", "true");
  button.textContent = button.dataset.asking;
  answer("");
  try {
    const headers = { Accept: "application/json" };
    const told = await get(form.action, { method: "POST", headers, body: new URLSearchParams(new FormData(form)) });
    const isTold = told.ok || told.status === 429;
    if (isTold && isPressed) answer(JSON.parse(told.text).words);
    if (isTold) await readAgain();
    else if (told.status >= 500) throw new Error("busy");
    else if (isPressed) form.submit(); // its page says what is wrong
  } catch {
    if (isPressed) showAway(true), (missedAt = now());
  }
  button.removeAttribute("aria-disabled");
  button.textContent = usual;
  isChecking = false;
}

// Beside the status line; a line that has changed says more.
function answer(words) {
  const shown = document.querySelector("[data-answer]");
  shown.textContent = words;
  shown.hidden = !words;
}

setClock();
setInterval(tick, 1000);
setInterval(goOn, 250);
addEventListener("pageshow", (event) => event.persisted && comeAgain());
addEventListener("online", comeAgain);
document.addEventListener("visibilitychange", () => document.hidden || comeAgain());
addEventListener("submit", (event) => {
  if (!event.target.matches("[data-check]")) return;
  event.preventDefault();
  check(event.target, true);
});
addEventListener("click", (event) => {
  if (!event.target.closest("[data-again]")) return;
  event.preventDefault();
  comeAgain();
});
addEventListener("returned", () => {
  const form = document.querySelector("[data-check]");
  if (form) check(form, false);
});
watch();
