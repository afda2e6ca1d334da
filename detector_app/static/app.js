"use strict";

// The live page. The messages are described in detector_app/http/live.py.

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
      const button = node("button", name.split(/[\\/]/).pop() || name);
      button.title = name;
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", String(name === current));
      button.onclick = () => choose(name);
      return button;
    }),
  );
}

function choose(name) {
  if (name === PICTURE) return $("file").click();
  if (name === CAMERA) return startCamera();
  watchServer(name);
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

// --- painting -------------------------------------------------------------------------------

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
