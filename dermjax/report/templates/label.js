"use strict";
// The labelling page: one photograph at a time, answered by key, mouse or finger. What is known of
// the answers is `state`, a plain object that the functions of the first part take and return; the
// second part, from `start` on, is the page around it.

// ---- Answers ------------------------------------------------------------------------------------

/** No answers yet. `history` has what undo needs; `saved` is the revision that was downloaded. */
function blankState() {
  return { answers: {}, history: [], place: 0, by: "", revision: 0, saved: 0 };
}

/** The state with an answer ({label}, {verdict} or {skipped: true}) to the photograph of a name. */
function answered(state, name, answer) {
  const before = state.answers[name] ?? null;
  const answers = { ...state.answers, [name]: answer };
  const history = [...state.history, [name, before]];
  return { ...state, answers, history, revision: state.revision + 1 };
}

/** The state before the last answer, and the name that it was given to; null if there is none. */
function undone(state) {
  if (!state.history.length) return null;
  const [name, before] = state.history.at(-1);
  const answers = { ...state.answers };
  if (before) answers[name] = before;
  else delete answers[name];
  const history = state.history.slice(0, -1);
  return { state: { ...state, answers, history, revision: state.revision + 1 }, name };
}

/** The next place, after `from` and round, whose answer `isWanted`; -1 if there is none. */
function nextPlace(photographs, state, from, isWanted) {
  for (let step = 1; step <= photographs.length; step++) {
    const place = (from + step) % photographs.length;
    if (isWanted(state.answers[photographs[place].name])) return place;
  }
  return -1;
}

const isOpen = (answer) => !answer;
const isSkipped = (answer) => Boolean(answer?.skipped);
const isGiven = (answer) => Boolean(answer?.label || answer?.verdict);

/** How many photographs have which kind of answer. */
function counts(photographs, state) {
  const found = { labelled: 0, verdicts: {}, skipped: 0, open: 0 };
  for (const { name } of photographs) {
    const answer = state.answers[name];
    if (isOpen(answer)) found.open++;
    else if (answer.skipped) found.skipped++;
    else if (answer.label) found.labelled++;
    else found.verdicts[answer.verdict] = (found.verdicts[answer.verdict] ?? 0) + 1;
  }
  return found;
}

/** Now, with the clock's own zone: 2026-03-01T09:30:00+01:00. */
function timeWithZone(now) {
  const two = (number) => String(Math.floor(Math.abs(number))).padStart(2, "0");
  const ahead = -now.getTimezoneOffset();
  const local = new Date(now.getTime() + ahead * 60000).toISOString().slice(0, 19);
  return `${local}${ahead < 0 ? "-" : "+"}${two(ahead / 60)}:${two(ahead % 60)}`;
}

// ---- labels.csv ---------------------------------------------------------------------------------

const COLUMNS = ["image", "x", "y", "w", "h", "label", "verdict", "labelled_by", "labelled_at"];

/** A spreadsheet would calculate a text that begins so: a quote before it stops that. */
const guarded = (text) => (/^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text);
const unguarded = (text) => (/^''*[=+\-@\t\r]/.test(text) ? text.slice(1) : text);

const quoted = (cell) => (/[",;\t\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

/** All labels and verdicts, in the order of the page, as a CSV; skipped ones are not in it. */
function csvOf(photographs, state) {
  const rows = [COLUMNS.join(",")];
  for (const { name, image, box } of photographs) {
    const answer = state.answers[name];
    if (!isGiven(answer)) continue;
    const sides = box ? box.map(String) : ["", "", "", ""];
    const words = [answer.label, answer.verdict, answer.by, answer.at].map((word) => word ?? "");
    rows.push([guarded(image), ...sides, ...words.map(guarded)].map(quoted).join(","));
  }
  return rows.join("\r\n") + "\r\n";
}

/** The rows of a CSV as lists of cells; the delimiter is the header's commonest. */
function parsedCsv(text) {
  text = text.replace(/^\uFEFF/, "").replace(/^\s*"?sep=.*\r?\n/i, "");
  const header = text.split("\n", 1)[0];
  const [delimiter] = [...",;\t"].sort((a, b) => header.split(b).length - header.split(a).length);
  const rows = [[]];
  const cell = new RegExp(`("(?:[^"]|"")*"|[^${delimiter}"\\r\\n]*)(${delimiter}|\\r\\n|\\n|\\r|$)`, "y");
  while (cell.lastIndex < text.length) {
    const found = cell.exec(text);
    if (!found) return null;
    const [, body, end] = found;
    rows.at(-1).push(body.startsWith('"') ? body.slice(1, -1).replaceAll('""', '"') : body.trim());
    if (end !== delimiter) rows.push([]);
  }
  return rows.filter((row) => row.some(Boolean));
}

/** A photograph's key in a table: the image and its box as numbers. */
function keyOf(image, sides) {
  const numbers = sides.map((side) => String(side).replace(",", ".")).filter(Boolean).map(Number);
  return JSON.stringify([image, ...numbers]);
}

/**
 * The state with the answers of an earlier labels.csv to photographs that have none yet.
 *
 * Returns {state, taken, kept, strange}: how many rows were taken, how many photographs have an
 * answer already, how many rows are of no photograph or class of this page; null if it is no such
 * table.
 */
function continued(page, state, text) {
  const [header, ...rows] = parsedCsv(text) ?? [];
  const place = Object.fromEntries((header ?? []).map((name, at) => [name.trim().toLowerCase(), at]));
  if (place.image === undefined || place.label === undefined) return null;
  const names = new Map(page.photographs.map((one) => [keyOf(one.image, one.box ?? []), one.name]));
  const found = { state, taken: 0, kept: 0, strange: 0 };
  for (const row of rows) {
    const cell = (column) => unguarded(row[place[column]] ?? "");
    const [label, verdict] = [cell("label"), cell("verdict")];
    if (!label && !verdict) continue;
    const name = names.get(keyOf(cell("image"), ["x", "y", "w", "h"].map(cell)));
    const known = label ? page.classes.includes(label) : page.verdicts.includes(verdict);
    if (!name || !known) found.strange++;
    else if (isGiven(found.state.answers[name])) found.kept++;
    else {
      const answer = { label, verdict: label ? "" : verdict, by: cell("labelled_by"), at: cell("labelled_at") };
      found.state = answered(found.state, name, answer);
      found.taken++;
    }
  }
  return found;
}

// ---- Keys ---------------------------------------------------------------------------------------

/** The class that a digit chooses: 1 to 9, then 0; -1 if the event is no digit. */
function digitOf(event) {
  if (/^[0-9]$/.test(event.key)) return (Number(event.key) + 9) % 10;
  // Keyboards whose digits need Shift, or are of another script, have them in the same places.
  const found = event.shiftKey ? null : /^Digit([0-9])$/.exec(event.code);
  return found ? (Number(found[1]) + 9) % 10 : -1;
}

/** The Latin letter or sign of a key; by its place where the keyboard has another alphabet. */
function signOf(event) {
  if (event.key.length > 1 || /[\x20-\x7e]/.test(event.key)) return event.key.toLowerCase();
  if (event.code === "Slash") return "/";
  return /^Key[A-Z]$/.test(event.code) ? event.code.slice(3).toLowerCase() : event.key;
}

// ---- The page -----------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);
let page, photographs, zoom; // what is asked, and the stage that it is shown on
let state = blankState();
let canStore = true; // this browser keeps what a page stores
let shown = -1; // the place of the photograph on the stage
let isOver = false; // the last answer was given: one more key would overwrite it unseen

const storeName = () => `dermjax-labels-${page.key}`;
const current = () => photographs[state.place];

function start() {
  page = JSON.parse($("questions").textContent);
  $("questions").remove(); // it is large, and needed once
  photographs = page.photographs;
  zoom = zooming($("stage"), $("view"), current);
  load();
  buildStrip();
  listen();
  show();
}

function load() {
  try {
    localStorage.setItem(`${storeName()}-try`, "1");
    localStorage.removeItem(`${storeName()}-try`);
    state = { ...blankState(), ...JSON.parse(localStorage.getItem(storeName()) ?? "{}") };
  } catch {
    canStore = false;
  }
  state.place = Math.min(state.place, photographs.length - 1);
}

function store() {
  try {
    localStorage.setItem(storeName(), JSON.stringify(state));
  } catch {
    canStore = false;
  }
}

/** Takes a new state, keeps it and shows it; `words` say what has happened. */
function change(next, words) {
  state = next;
  store();
  if (words !== undefined) $("said").textContent = words;
  show();
}

const wordsOf = (answer) =>
  !answer ? "no answer yet" : answer.skipped ? "skipped" : answer.label || answer.verdict;

// -- Answering

function give(answer) {
  const { name } = current();
  const number = state.place + 1;
  const by = $("by").value.trim();
  const stamped = answer.skipped ? answer : { ...answer, by, at: timeWithZone(new Date()) };
  const next = answered(state, name, stamped);
  const place = following(next, state.answers[name]);
  isOver = place === state.place;
  hideAids();
  change({ ...next, place }, `Photograph ${number}: ${wordsOf(stamped)}.`);
  if (isOver) $("done").scrollIntoView({ block: "nearest" });
}

/** Where to go from here: to the next without an answer, or from a skipped one to the next such. */
function following(next, before) {
  const open = nextPlace(photographs, next, state.place, isOpen);
  if (open >= 0) return open;
  const skipped = isSkipped(before) ? nextPlace(photographs, next, state.place, isSkipped) : -1;
  return skipped >= 0 ? skipped : state.place;
}

const goToSkipped = () => go(nextPlace(photographs, state, state.place, isSkipped));

function giveByKey(answer) {
  if (isOver) $("said").textContent = "All have been seen; go to a photograph to change its answer.";
  else give(answer);
}

function undo() {
  isOver = false;
  const before = undone(state);
  if (!before) {
    $("said").textContent = "Nothing to undo.";
    return;
  }
  const place = photographs.findIndex((one) => one.name === before.name);
  hideAids();
  const words = `Undone. Photograph ${place + 1}: ${wordsOf(before.state.answers[before.name])}.`;
  change({ ...before.state, place }, words);
}

function go(place) {
  isOver = false;
  if (place < 0 || place >= photographs.length || place === state.place) return;
  hideAids();
  change({ ...state, place }, "");
}

// -- Showing

function show() {
  const one = current();
  if (shown !== state.place) showPhotograph(one);
  shown = state.place;
  const answer = state.answers[one.name];
  $("where").textContent = `Photograph ${state.place + 1} of ${photographs.length}`;
  $("name").textContent = one.name;
  $("now").textContent = wordsOf(answer);
  const given = buttonOf(answer);
  for (const button of document.querySelectorAll("[data-answer]")) {
    button.setAttribute("aria-pressed", String(button.dataset.answer === given));
  }
  $("previous").disabled = state.place === 0;
  $("next").disabled = state.place === photographs.length - 1;
  $("undo").disabled = !state.history.length;
  $("by").value = document.activeElement === $("by") ? $("by").value : state.by;
  showProgress();
  showStrip();
  $("storeless").hidden = canStore;
}

/** Which button's `data-answer` it is. */
function buttonOf(answer) {
  if (answer?.skipped) return "skip";
  return answer?.label ? `label ${answer.label}` : `verdict ${answer?.verdict}`;
}

function showPhotograph(one) {
  $("photograph").src = one.photograph;
  $("photograph").alt = `Photograph ${one.name}`;
  $("view").style.width = `${one.width}px`;
  $("view").style.height = `${one.height}px`;
  $("frame").setAttribute("viewBox", `0 0 ${one.width} ${one.height}`);
  $("frame").toggleAttribute("hidden", !one.shown);
  for (const side of $("frame").children) {
    ["x", "y", "width", "height"].forEach((name, at) => side.setAttribute(name, one.shown?.[at] ?? 0));
  }
  if ($("box")) $("box").disabled = !one.shown; // pages without any box have no such button
  if ($("similar")) $("similar").disabled = !one.neighbours.length;
  zoom.fit();
}

function showProgress() {
  const found = counts(photographs, state);
  const given = photographs.length - found.open - found.skipped;
  $("bar").value = given;
  const parts = [`${found.labelled} labelled`];
  for (const verdict of page.verdicts) {
    if (found.verdicts[verdict]) parts.push(`${found.verdicts[verdict]} ${verdict}`);
  }
  if (found.skipped) parts.push(`${found.skipped} skipped`);
  $("progress").textContent = `${given} of ${photographs.length} answered (${parts.join(", ")})`;
  $("done").hidden = found.open > 0;
  $("summary").textContent = found.skipped
    ? `All ${photographs.length} seen; skipped, and so not in labels.csv: ${found.skipped}.`
    : `All ${photographs.length} answered.`;
  $("skipped").hidden = !found.skipped;
  const unsaved = isUnsaved();
  $("unsaved").textContent = !given ? "" : unsaved ? "Not downloaded yet." : "Downloaded.";
  $("download").disabled = !given;
  $("text").value = $("copy").open ? csvOf(photographs, state) : "";
}
/** What stands below a small photograph, so that colour is not needed to tell answers apart. */
function signOfAnswer(answer) {
  if (!answer) return "";
  if (answer.skipped) return "↷";
  return answer.label ? "✓" : "?✕"[page.verdicts.indexOf(answer.verdict)];
}

function showStrip() {
  $("strip").querySelectorAll("button").forEach((button, place) => {
    const answer = state.answers[photographs[place].name];
    button.querySelector(".sign").textContent = signOfAnswer(answer);
    button.setAttribute("aria-label", `Photograph ${place + 1}: ${wordsOf(answer)}`);
    button.title = `${place + 1}: ${wordsOf(answer)}`;
    const isCurrent = place === state.place;
    button.tabIndex = isCurrent ? 0 : -1;
    if (!isCurrent) button.removeAttribute("aria-current");
    else if (!button.hasAttribute("aria-current")) {
      button.setAttribute("aria-current", "true");
      // Only the strip moves, never the page.
      const strip = $("strip");
      strip.scrollLeft = button.offsetLeft - (strip.clientWidth - button.offsetWidth) / 2;
    }
  });
}

function buildStrip() {
  photographs.forEach((one, place) => {
    const button = document.createElement("button");
    button.type = "button";
    const image = document.createElement("img");
    image.src = one.thumbnail;
    image.alt = "";
    const number = document.createElement("span");
    number.textContent = place + 1;
    const sign = document.createElement("b");
    sign.className = "sign";
    button.append(image, number, sign);
    button.addEventListener("click", () => go(place));
    $("strip").append(button);
  });
}

// -- What might sway the reader, on request only

function hideAids() {
  for (const id of ["similar", "why"]) if ($(id)) reveal(id, false);
}

function reveal(id, isShown) {
  const button = $(id);
  const panel = $(button.getAttribute("aria-controls"));
  button.setAttribute("aria-expanded", String(isShown));
  panel.hidden = !isShown;
  if (isShown) fill[id](current());
  zoom.refit();
}

function toggle(id) {
  const button = $(id);
  if (button && !button.disabled) reveal(id, button.getAttribute("aria-expanded") !== "true");
}

const fill = {
  why: (one) => { $("reason").textContent = one.why || "No reason is given."; },
  similar: (one) => $("neighbours").replaceChildren(...one.neighbours.map(figureOf)),
};

function figureOf(neighbour) {
  const figure = document.createElement("figure");
  const image = document.createElement("img");
  image.src = neighbour.photograph;
  image.alt = `Photograph ${neighbour.name}`;
  const caption = document.createElement("figcaption");
  const label = document.createElement("b");
  label.dir = "auto";
  label.textContent = neighbour.label;
  const likeness = document.createElement("span");
  likeness.textContent = `similarity ${neighbour.similarity.toFixed(2)}`;
  caption.append(label, likeness);
  figure.title = neighbour.name;
  figure.append(image, caption);
  return figure;
}

// -- Finding a class by its name

/** Shows the classes whose names have the letters; returns the button that Enter presses. */
function filter() {
  const wanted = $("filter").value.trim().toLocaleLowerCase();
  const nameOf = (button) => button.dataset.name.toLocaleLowerCase();
  const buttons = [...$("classes").querySelectorAll("button")];
  for (const button of buttons) button.hidden = !nameOf(button).includes(wanted);
  const found = buttons.filter((button) => !button.hidden);
  const best = found.find((button) => nameOf(button).startsWith(wanted)) ?? found[0];
  const first = wanted ? best : undefined;
  for (const button of buttons) button.classList.toggle("chosen", button === first);
  if (!wanted) $("found").textContent = "";
  else if (!first) $("found").textContent = "No class has these letters.";
  else $("found").textContent = `${found.length} found; Enter takes ${first.dataset.name}`;
  return first;
}

function leaveFilter() {
  $("filter").value = "";
  filter();
  $("filter").blur();
}

function filterKey(event) {
  if (event.isComposing) return; // Chinese, say, is being typed
  if (event.key === "Escape") leaveFilter();
  else if (event.key === "Enter") {
    const first = filter();
    if (!first) return;
    leaveFilter();
    first.click();
  } else return;
  event.preventDefault();
}

// -- Download, and going on from one

const isUnsaved = () => state.revision !== state.saved && Object.values(state.answers).some(isGiven);

function download() {
  if (!Object.values(state.answers).some(isGiven)) return;
  const link = document.createElement("a");
  // The mark at the beginning is how Excel knows UTF-8.
  const file = new Blob(["\uFEFF", csvOf(photographs, state)], { type: "text/csv;charset=utf-8" });
  link.href = URL.createObjectURL(file);
  link.download = "labels.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  change({ ...state, saved: state.revision }, "labels.csv was handed to the browser's downloads.");
}

async function resume(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const isWide = bytes[0] === 0xff && bytes[1] === 0xfe; // Excel's "Unicode text"
  const found = continued(page, state, new TextDecoder(isWide ? "utf-16le" : "utf-8").decode(bytes));
  if (!found) {
    $("said").textContent = `${file.name} has no columns image and label: choose a labels.csv of this page.`;
    return;
  }
  const parts = [`Answers taken from ${file.name}: ${found.taken}`];
  if (found.kept) parts.push(`not taken, as there is an answer here: ${found.kept}`);
  if (found.strange) parts.push(`of photographs or classes that are not on this page: ${found.strange}`);
  change(found.state, `${parts.join("; ")}.`);
}

function forget() {
  if (!confirm("Delete all answers on this page from this browser? A downloaded labels.csv stays.")) return;
  change(blankState(), "All answers are deleted.");
  try {
    localStorage.removeItem(storeName());
  } catch { /* there is nothing to delete */ }
}

// -- What is pressed

const answerOf = {
  s: () => ({ skipped: true }),
  c: () => ({ verdict: page.verdicts[0] }),
  x: () => ({ verdict: page.verdicts[1] }),
};

const actions = {
  s: () => give(answerOf.s()),
  c: () => give(answerOf.c()),
  x: () => give(answerOf.x()),
  u: undo,
  arrowleft: () => go(state.place - 1),
  arrowright: () => go(state.place + 1),
  n: () => toggle("similar"),
  w: () => toggle("why"),
  k: goToSkipped,
  d: download,
  b: () => zoom.toBox(),
  f: () => zoom.fit(),
  "+": () => zoom.by(1.5),
  "=": () => zoom.by(1.5), // + without Shift
  "-": () => zoom.by(1 / 1.5),
  "/": () => $("filter")?.focus(),
};

const PAN = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };

function pressed(event) {
  const isTyping = event.target.closest?.("input:not([type=file]), textarea");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || event.repeat && !(event.key in PAN)) return;
  const place = digitOf(event);
  if (event.shiftKey && event.key in PAN) zoom.pan(...PAN[event.key]);
  else if (place >= 0) page.classes[place] !== undefined && giveByKey({ label: page.classes[place] });
  else if (answerOf[signOf(event)]) giveByKey(answerOf[signOf(event)]());
  else if (actions[signOf(event)]) actions[signOf(event)]();
  else return;
  event.preventDefault();
}

function listen() {
  document.addEventListener("keydown", pressed);
  for (const button of $("classes").querySelectorAll("button")) {
    button.addEventListener("click", () => give({ label: button.dataset.name }));
  }
  for (const button of document.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => actions[button.dataset.action]());
  }
  $("by").addEventListener("input", () => change({ ...state, by: $("by").value }));
  $("filter")?.addEventListener("input", filter);
  $("filter")?.addEventListener("keydown", filterKey);
  $("copy").addEventListener("toggle", showProgress);
  $("earlier").addEventListener("change", () => {
    if ($("earlier").files[0]) resume($("earlier").files[0]);
    $("earlier").value = ""; // the same file can be chosen again
  });
  $("forget").addEventListener("click", forget);
  addEventListener("storage", (event) => { // the same page in another tab has gone on
    if (event.key === storeName()) { load(); show(); }
  });
  addEventListener("beforeunload", (event) => {
    if (!isUnsaved()) return;
    event.preventDefault();
    event.returnValue = true; // for older browsers
  });
}

/** Moves `view`, a photograph, within `stage`: by wheel, pinch, drag, and the functions returned. */
function zooming(stage, view, current) {
  const at = { scale: 1, x: 0, y: 0 };
  const fingers = new Map();
  let isFitted = true;
  let isAtBox = false;

  const fitting = () => Math.min(stage.clientWidth / current().width, stage.clientHeight / current().height);

  /** The photograph fills the stage, or stands in its middle. */
  function held(offset, size, room) {
    return size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, offset));
  }

  function place() {
    const { width, height } = current();
    at.x = held(at.x, width * at.scale, stage.clientWidth);
    at.y = held(at.y, height * at.scale, stage.clientHeight);
    view.style.transform = `translate(${at.x}px, ${at.y}px) scale(${at.scale})`;
    stage.classList.toggle("movable", !isFitted);
  }

  function scaleTo(scale, x, y) {
    const least = fitting();
    const next = Math.min(Math.max(scale, least), Math.max(8 * least, 4));
    at.x = x - ((x - at.x) * next) / at.scale;
    at.y = y - ((y - at.y) * next) / at.scale;
    at.scale = next;
    isFitted = next <= least * 1.001;
    isAtBox = false;
    place();
  }

  function fit() {
    at.scale = fitting();
    isFitted = true;
    isAtBox = false;
    place();
  }

  function pan(x, y) {
    at.x += x;
    at.y += y;
    isAtBox = false;
    place();
  }

  /** The box, with a quarter of its size on each side; a second time all of the photograph. */
  function toBox() {
    const box = current().shown;
    if (!box) return;
    if (isAtBox) return fit();
    const [x, y, width, height] = box;
    const scale = Math.min(stage.clientWidth / (1.5 * width), stage.clientHeight / (1.5 * height));
    scaleTo(scale, 0, 0);
    at.x = stage.clientWidth / 2 - (x + width / 2) * at.scale;
    at.y = stage.clientHeight / 2 - (y + height / 2) * at.scale;
    isAtBox = true;
    place();
  }

  const within = (event) => {
    const frame = stage.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };

  const spread = ([[ax, ay], [bx, by]]) => ({
    apart: Math.hypot(ax - bx, ay - by), x: (ax + bx) / 2, y: (ay + by) / 2,
  });

  function moved(event) {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const old = fingers.size === 2 ? spread([...fingers.values()]) : null;
    const now = within(event);
    fingers.set(event.pointerId, now);
    if (!old) return pan(now[0] - before[0], now[1] - before[1]);
    const next = spread([...fingers.values()]);
    pan(next.x - old.x, next.y - old.y);
    scaleTo((at.scale * next.apart) / old.apart, next.x, next.y);
  }

  stage.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, within(event));
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", moved);
  for (const name of ["pointerup", "pointercancel"]) {
    stage.addEventListener(name, (event) => fingers.delete(event.pointerId));
  }
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    scaleTo(at.scale * Math.exp(-event.deltaY / 400), ...within(event));
  }, { passive: false });
  const refit = () => (isFitted ? fit() : place());
  new ResizeObserver(refit).observe(stage);
  const by = (factor) => scaleTo(at.scale * factor, stage.clientWidth / 2, stage.clientHeight / 2);
  return { fit, refit, pan, toBox, by };
}

if (typeof document !== "undefined") start();
