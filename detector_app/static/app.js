"use strict";

// The live page. The messages are described in detector_app/live.py.

const $ = (id) => document.getElementById(id);
const history_ = new SpikeHistory();
const views = {
  shallow: new RasterView($("shallow"), history_, [94, 214, 250]),
  deep: new RasterView($("deep"), history_, [255, 130, 160]),
};
const stage = new Stage($("video"));

let socket = null;
let hello = null;
let source = null; // name of what the server watches
let dirty = false;
let frameId = -1; // of the live frame on show
let early = []; // reads that came before their frame was decoded
let latencies = [];
let peakRate = 0.2; // firing rate that fills a bar
const ticks = { frames: [], reads: [] };

// --- connection -----------------------------------------------------------------------------

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => (typeof data === "string" ? receive(JSON.parse(data)) : receiveFrame(data));
  socket.onclose = () => {
    setState("offline");
    setTimeout(connect, 1000);
  };
}

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function receive(message) {
  if (message.type === "hello") welcome(message);
  else if (message.type === "read") receiveRead(message);
  else if (message.type === "statistics") showStatistics(message);
  else if (message.type === "error") {
    notify(message.message, "bad");
    if (message.own) failOwn();
  }
}

async function receiveFrame(data) {
  const id = new DataView(data).getUint32(0);
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 4)], { type: "image/jpeg" }));
  } finally {
    send({ type: "shown", frame: id });
  }
  if (own || id < frameId) return bitmap.close();
  frameId = id;
  stage.show(bitmap);
  tick("frames");
  const waiting = early;
  early = [];
  waiting.forEach(receiveRead);
  dirty = true;
}

function receiveRead(read) {
  if (read.own) {
    if (read.read === read.reads) ownBusy = false;
    if (!own || read.frame !== own.frame) return lookAtOwn(); // of a picture that is off the screen
  } else if (own) return;
  else if (read.frame !== frameId) {
    if (read.frame > frameId) early.push(read);
    return;
  }
  stage.result = read;
  history_.add(read.rasters, read.read === 1);
  tick("reads");
  showRead(read);
  if (read.read === read.reads) {
    latencies.push(read.latency_ms);
    if (latencies.length > 60) latencies.shift();
    if (own && own.stream) own.wanted = true;
  }
  dirty = true;
  lookAtOwn();
}

// --- what is shown --------------------------------------------------------------------------

function welcome(message) {
  hello = message;
  frameId = -1;
  early = [];
  stage.classes = message.classes;
  $("model").textContent = `${message.model} · ${message.runtime} · ${message.version}`;
  $("reads").max = Math.min(16, message.max_reads);
  applySettings(message.settings);
  for (const [index, which] of ["shallow", "deep"].entries()) {
    const select = $(`${which}-layer`);
    const chosen = views[which].layer || message.shown_layers[index];
    select.replaceChildren(...message.layers.map((name) => new Option(name, name, false, name === chosen)));
    views[which].layer = chosen;
  }
  buildRates(message.layers);
  if (own || document.hidden) send({ type: "watch", on: false });
  buildSources();
  restartOwn();
}

function showRead(read) {
  $("read").textContent = read.read;
  $("read-total").textContent = read.reads;
  const bar = $("read-bar");
  const segments = Math.min(read.reads, 64);
  if (bar.children.length !== segments) bar.replaceChildren(...Array.from({ length: segments }, () => document.createElement("i")));
  const done = Math.round((read.read / read.reads) * segments);
  [...bar.children].forEach((segment, i) => (segment.className = i < done ? (i === done - 1 ? "on now" : "on") : ""));
  if (read.read === read.reads || own) showFound(read.detections);
  peakRate = Math.max(peakRate, ...read.firing_rates);
  read.firing_rates.forEach((rate, i) => {
    const row = $("rates").children[i];
    row.querySelector("i").style.width = `${(100 * rate) / peakRate}%`;
    row.lastChild.textContent = percent(rate);
  });
  for (const which of ["shallow", "deep"])
    $(`${which}-rate`).textContent = `${percent(read.firing_rates[hello.layers.indexOf(views[which].layer)])} spike`;
  const mean = read.firing_rates.reduce((sum, rate) => sum + rate, 0) / read.firing_rates.length;
  $("firing").textContent = percent(mean);
}

function showFound(detections) {
  const items = detections.slice(0, 12).map((found) => {
    const item = document.createElement("li");
    item.textContent = `${found.class} ${(found.score * 100).toFixed(0)}%`;
    item.style.borderColor = item.style.color = stage.colour(found.class_id);
    return item;
  });
  if (!items.length) {
    const none = document.createElement("li");
    none.className = "none";
    none.textContent = "nothing above the score threshold";
    items.push(none);
  }
  $("found").replaceChildren(...items);
}

function showStatistics(statistics) {
  setState(own ? "running" : statistics.state);
  if (statistics.state === "error" && !own) notify(statistics.error, "bad", "try again", () => post("/api/retry"));
  else if ($("notice").dataset.retry) hideNotice();
  if (statistics.source !== source) {
    source = statistics.source;
    buildSources();
  }
  applySettings(statistics.settings);
  $("fps").textContent = rate("frames").toFixed(1);
  $("reads-rate").textContent = rate("reads").toFixed(0);
  const sorted = [...latencies].sort((a, b) => a - b);
  $("p50").textContent = at(sorted, 0.5);
  $("p95").textContent = at(sorted, 0.95);
  $("dropped").textContent = own ? "0" : statistics.per_second.drop.toFixed(1);
}

function buildRates(layers) {
  $("rates").replaceChildren(
    ...layers.map((name) => {
      const row = document.createElement("div");
      row.className = "rate";
      const label = document.createElement("span");
      label.textContent = label.title = name;
      const track = document.createElement("div");
      track.append(document.createElement("i"));
      row.append(label, track, document.createElement("span"));
      return row;
    }),
  );
  markLayers();
}

function markLayers() {
  hello.layers.forEach((name, i) => {
    $("rates").children[i].classList.toggle("is-shallow", name === views.shallow.layer);
    $("rates").children[i].classList.toggle("is-deep", name === views.deep.layer);
  });
}

function setState(state) {
  $("state").textContent = $("state").dataset.state = state;
}

function notify(text, kind = "", action = "", run = null) {
  const notice = $("notice");
  if (notice.dataset.text === text && !notice.hidden) return;
  notice.textContent = notice.dataset.text = text;
  notice.className = `notice ${kind}`;
  notice.dataset.retry = action;
  notice.hidden = false;
  clearTimeout(notify.timer);
  if (action) {
    const button = document.createElement("button");
    button.textContent = action;
    button.onclick = () => { hideNotice(); run(); };
    notice.append(button);
  } else notify.timer = setTimeout(hideNotice, 6000);
}

function hideNotice() {
  $("notice").hidden = true;
  $("notice").dataset.retry = "";
}

// --- controls -------------------------------------------------------------------------------

const SLIDERS = { reads: "reads", score: "score_threshold", iou: "iou_threshold" };

function applySettings(settings) {
  if (changing) return;
  for (const [id, name] of Object.entries(SLIDERS)) {
    if (id === "reads" && settings.reads > Number($(id).max)) $(id).max = settings.reads;
    $(id).value = settings[name];
    label(id, settings[name]);
  }
}

function label(id, value) {
  $(`${id}-value`).textContent = id === "reads" ? value : value.toFixed(2);
}

let changing = 0; // a slider was moved a moment ago: its value is newer than the server's
for (const [id, name] of Object.entries(SLIDERS))
  $(id).addEventListener("input", () => {
    const value = Number($(id).value);
    label(id, value);
    clearTimeout(changing);
    changing = setTimeout(() => (changing = 0), 800);
    send({ type: "settings", [name]: value }); // alone: a slider may round what the others were set to
    if (own && own.file) own.wanted = true;
    lookAtOwn();
  });

for (const which of ["shallow", "deep"])
  $(`${which}-layer`).addEventListener("change", (event) => {
    views[which].layer = event.target.value;
    markLayers();
    dirty = true;
  });

function buildSources() {
  const current = own ? (own.file ? PICTURE : CAMERA) : source;
  const names = [...hello.sources, CAMERA, PICTURE];
  $("sources").replaceChildren(
    ...names.map((name) => {
      const button = document.createElement("button");
      button.textContent = name.split(/[\\/]/).pop() || name;
      button.title = name;
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", String(name === current));
      button.onclick = () => choose(name);
      return button;
    }),
  );
}

async function choose(name) {
  if (name === PICTURE) return $("file").click();
  if (name === CAMERA) return startCamera();
  watchServer();
  if (name !== source) await post(`/api/source?name=${encodeURIComponent(name)}`);
}

async function post(path) {
  try {
    const response = await fetch(path, { method: "POST" });
    if (!response.ok) notify((await response.json()).detail, "bad");
  } catch {
    notify("the server does not answer; is it still running?", "bad");
  }
}

$("file").addEventListener("change", (event) => {
  if (event.target.files.length) openFile(event.target.files[0]);
  event.target.value = "";
});
$("drop").addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("dragging"); });
$("drop").addEventListener("dragleave", () => $("drop").classList.remove("dragging"));
$("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("dragging");
  if (event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
});
document.addEventListener("visibilitychange", () => {
  if (!own && hello) send({ type: "watch", on: !document.hidden });
});

// --- helpers --------------------------------------------------------------------------------

const percent = (share) => `${(100 * share).toFixed(1)}%`;
const at = (sorted, share) => (sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(0) : "–");

function tick(kind) {
  ticks[kind].push(performance.now());
}

function rate(kind) {
  const now = performance.now();
  ticks[kind] = ticks[kind].filter((time) => now - time < 3000);
  const first = ticks[kind][0];
  return ticks[kind].length < 2 ? 0 : (1000 * (ticks[kind].length - 1)) / (now - first);
}

function paint() {
  if (dirty) {
    dirty = false;
    stage.draw();
    views.shallow.draw();
    views.deep.draw();
  }
  requestAnimationFrame(paint);
}

window.addEventListener("resize", () => (dirty = true));
connect();
paint();
