"use strict";
const { file, saves, items } = JSON.parse(document.getElementById("data").textContent);
const storeName = "openmofi-verdicts:" + file.labels;
const nameOf = item => JSON.stringify([item.shard, item.key, item.entity]);
const part = id => document.getElementById(id);
const words = { y: "yes", n: "no", u: "unsure" };

// Verdicts are stored twice. localStorage has an entry a label: other pages of the same labels read them too, and two tabs
// do not overwrite each other's. The tab's history has them all: now and then Chromium gives a page that is reloaded an
// empty localStorage which forgets what is written to it.
const judged = history.state?.[storeName] ?? {};
let stored = true;
function load(item) {
  try {
    const entry = JSON.parse(localStorage.getItem(storeName + nameOf(item)));
    if (entry && !(judged[nameOf(item)]?.when > entry.when)) judged[nameOf(item)] = entry;
    return Boolean(entry);
  } catch {
    stored = false;
  }
}
function store(name) {
  try {
    localStorage.setItem(storeName + name, JSON.stringify(judged[name]));
  } catch {
    stored = false;
  }
}
const remembered = Object.keys(judged);
if (!items.map(load).some(Boolean) && remembered.length) stored = false;
remembered.forEach(store);
const verdictOf = item => judged[nameOf(item)];
// A draw for a guarantee counts only as a whole.
const whole = Boolean(file.plan);
const firstOpen = () => items.findIndex(item => !verdictOf(item));
let position = firstOpen() < 0 ? items.length : firstOpen();

function judge(verdict) {
  if (position >= items.length) return;
  const name = nameOf(items[position]);
  judged[name] = { verdict, when: new Date().toISOString() };
  store(name);
  try {
    history.replaceState({ [storeName]: judged }, "");
  } catch {
    // Safari takes a hundred in half a minute; the next one has this verdict too.
  }
  move(1);
}

function move(step) {
  position = Math.min(items.length, Math.max(0, position + step));
  show();
}

function save() {
  const verdicts = items.filter(verdictOf).map(({ shard, key, entity, probability, stratum }) =>
    ({ shard, key, entity, probability, stratum, ...judged[nameOf({ shard, key, entity })] }));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify({ ...file, verdicts }, null, 1)], { type: "application/json" }));
  link.download = saves;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  const left = items.length - verdicts.length;
  part("state").textContent = "saved " + verdicts.length + " verdicts as " + saves
    + (whole && left ? "; judge the other " + left + " and save again before you use it" : "");
}

function showItem(item) {
  part("name").textContent = item.name;
  part("description").textContent = item.description;
  part("text").replaceChildren(...item.text.map(([piece, kind]) => {
    const node = document.createElement(kind ? "mark" : "span");
    node.className = kind;
    node.textContent = piece;
    return node;
  }));
  part("picture").hidden = !item.image;
  part("missing").hidden = Boolean(item.image);
  if (item.image) part("picture").src = item.image;
  const said = verdictOf(item);
  part("said").textContent = said
    ? "you said " + words[said.verdict] + "; the labels gave it probability " + item.probability.toFixed(2) : "";
  for (const verdict of "ynu") part(verdict).setAttribute("aria-pressed", said?.verdict === verdict);
}

function leftSentence(left) {
  if (!left) return "All labels are judged.";
  const open = left === 1 ? "1 label has no verdict yet" : left + " labels have no verdict yet";
  return open + (whole ? ". A guarantee takes one on each: say unsure where you cannot tell."
    : "; what is judged is a fair sample all the same.");
}

function show() {
  const done = items.filter(verdictOf).length;
  part("card").hidden = position >= items.length;
  part("end").hidden = position < items.length;
  if (position < items.length) showItem(items[position]);
  part("left").textContent = leftSentence(items.length - done);
  part("open").hidden = done === items.length;
  part("goal")?.classList.toggle("begun", done > 0);
  part("place").textContent = Math.min(position + 1, items.length) + " of " + items.length;
  part("bar").style.width = 100 * done / items.length + "%";
  part("state").textContent = done + " judged" + (stored ? "" : "; this browser keeps nothing: save before you close the page");
}

const keys = { y: () => judge("y"), n: () => judge("n"), u: () => judge("u"), s: save,
  ArrowLeft: () => move(-1), ArrowRight: () => move(1) };
addEventListener("keydown", event => {
  const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey || event.repeat && event.key.length === 1) return;
  event.preventDefault();
  act();
});
for (const [id, act] of [["y", keys.y], ["n", keys.n], ["u", keys.u], ["back", keys.ArrowLeft],
  ["forward", keys.ArrowRight], ["save", save], ["save-end", save], ["open", () => move(firstOpen() - position)]]) part(id).addEventListener("click", act);
// A verdict of another tab, or of this one just before it was loaded again: a browser may write that late.
addEventListener("storage", event => {
  if (!event.key?.startsWith(storeName)) return;
  items.forEach(load);
  show();
});
show();
