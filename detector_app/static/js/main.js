// The live page: what comes from the server goes to the view, and what is on show is painted.

import { Connection } from "./connection.js";
import { Controls, OWN, readLink } from "./controls.js";
import { byId } from "./dom.js";
import { Figures, setState } from "./figures.js";
import { hideNotice, notify } from "./notice.js";
import { Own } from "./own.js";
import { Raster, SpikeHistory } from "./raster.js";
import { Recorder, snapshot } from "./recorder.js";
import { Stage } from "./stage.js";
import { startTheme } from "./theme.js";
import { Tour } from "./tour.js";
import { Trace } from "./trace.js";
import { isLast, View } from "./view.js";

class Page {
  constructor() {
    this.connection = new Connection();
    this.view = new View();
    this.own = new Own(this.connection, this.view);
    this.stage = new Stage(byId("video"), this.view);
    this.trace = new Trace(byId("trace"), this.view);
    this.history = new SpikeHistory();
    this.rasters = {
      shallow: new Raster(byId("shallow"), this.history, "--shallow"),
      deep: new Raster(byId("deep"), this.history, "--deep"),
    };
    this.figures = new Figures(this.view);
    this.recorder = new Recorder(byId("video"));
    this.tour = new Tour();
    this.link = readLink();
    this.frame = -1; // number of the server's frame on show
    this.sent = 0; // messages of settings that this connection was sent
    this.early = []; // reads that came before their frame was decoded
    this.seen = -1; // number of the newest of which the server was told that it is painted
    this.stepping = false; // one more frame is wanted while it is paused
    this.dirty = true;
    this.controls = new Controls(this.view, this.rasters, {
      set: (settings) => this.set(settings),
      choose: (name) => this.choose(name),
      redraw: () => this.redraw(),
    });
  }

  start() {
    const on = (type, act) => this.connection.addEventListener(type, ({ detail }) => act(detail));
    on("hello", (hello) => this.welcome(hello));
    on("frame", (data) => this.receiveFrame(data));
    on("read", (read) => this.receiveRead(read));
    on("statistics", (statistics) => this.receiveStatistics(statistics));
    on("error", (error) => this.receiveError(error));
    on("close", () => setState("offline"));
    this.view.addEventListener("source", () => this.turned());
    for (const type of ["picture", "read", "select"]) this.view.addEventListener(type, () => this.redraw());
    document.addEventListener("visibilitychange", () => this.watch());
    window.addEventListener("resize", () => this.redraw());
    startTheme(() => this.redraw());
    this.listen();
    this.connection.open();
    this.paint();
  }

  // --- what comes from the server -----------------------------------------------------------

  welcome(hello) {
    const again = this.view.hello !== null;
    for (const [id, layer] of Object.entries(this.link.layers)) if (hello.layers.includes(layer)) this.rasters[id].layer = layer;
    const chosen = again ? this.view.settings : this.link.settings;
    this.frame = this.seen = -1;
    this.sent = 0;
    this.early = [];
    this.view.welcome(hello);
    this.figures.welcome();
    this.controls.welcome();
    if (Object.keys(chosen).length) this.set(chosen);
    const source = again ? this.controls.source : this.link.source;
    if (hello.sources.includes(source)) this.connection.send({ type: "watch", on: !this.own.on, source });
    if (this.own.on || document.hidden || this.view.paused) this.connection.send({ type: "watch", on: false });
    this.own.restart();
    if (!again) this.tour.greet();
  }

  async receiveFrame(data) {
    const id = new DataView(data).getUint32(0);
    let picture;
    try {
      picture = await createImageBitmap(new Blob([new Uint8Array(data, 4)], { type: "image/jpeg" }));
    } finally {
      this.connection.send({ type: "shown", frame: id });
    }
    if (this.own.on || id < this.frame || (this.view.paused && !this.stepping)) return picture.close();
    this.frame = id;
    this.view.show(picture);
    this.figures.tick("pictures");
    this.early.splice(0).forEach((read) => this.receiveRead(read));
  }

  receiveRead(read) {
    if (read.own ? !this.own.heard(read, isLast(read)) : this.own.on) return;
    if (!read.own && read.frame !== this.frame) {
      if (read.frame > this.frame && !(this.view.paused && !this.stepping)) this.early.push(read);
      return;
    }
    this.view.add(read);
    this.history.add(read);
    this.recorder.add(read);
    this.figures.tick("reads");
    if (read.own && read.read === 1) this.figures.tick("pictures");
    if (isLast(read)) this.settle(read);
    this.own.look();
  }

  /** All reads of a picture came. */
  settle(read) {
    this.figures.late(read.latency_ms);
    if (!this.stepping) return;
    this.stepping = false;
    this.watch();
    this.view.choose(0);
  }

  receiveStatistics(statistics) {
    const own = this.own.kind === "picture" && this.view.done ? "done" : "running";
    setState(this.view.paused ? "paused" : this.own.on ? own : statistics.state);
    const lost = statistics.state === "lost" && !this.own.on;
    if (lost) notify(statistics.error, "bad", "try again", () => this.retry());
    else if (byId("notice").dataset.retry) hideNotice();
    if (statistics.source && statistics.source !== this.controls.source) {
      this.controls.source = statistics.source;
      this.controls.sources();
    }
    if (statistics.settings_heard >= this.sent) {
      this.view.apply(statistics.settings);
      this.controls.apply();
    }
    this.figures.speed(this.own.on ? null : statistics);
  }

  receiveError({ message, own }) {
    notify(message, "bad");
    if (own) this.own.failed();
  }

  // --- what the visitor does ----------------------------------------------------------------

  set(settings) {
    this.connection.send({ type: "settings", ...settings });
    this.sent += 1;
    this.view.settings = { ...this.view.settings, ...settings };
    this.controls.apply();
    if (this.own.kind === "picture") this.own.again();
    this.redraw();
  }

  choose(name) {
    if (name === OWN.picture) return byId("picture").click();
    if (name === OWN.video) return byId("clip").click();
    if (name === OWN.camera) return this.own.startCamera();
    this.own.leave();
    this.frame = -1;
    this.controls.source = name;
    this.view.clear();
    this.connection.send({ type: "watch", on: true, source: name });
    this.turned();
  }

  /** Another source is on show, running. */
  turned() {
    this.setPaused(false);
    this.controls.own = this.own.kind;
    this.figures.reset();
    this.controls.sources();
    this.redraw();
  }

  async retry() {
    const source = encodeURIComponent(this.controls.source);
    const response = await fetch(`/api/retry?source=${source}`, { method: "POST" }).catch(() => null);
    if (!response) notify("the server does not answer; is it still running?", "bad");
    else if (!response.ok) notify((await response.json()).detail, "bad");
  }

  /** Say whether frames of the server are wanted now. */
  watch() {
    if (this.own.on || !this.view.hello) return;
    this.connection.send({ type: "watch", on: !document.hidden && (!this.view.paused || this.stepping) });
  }

  setPaused(paused) {
    if (this.view.paused === paused) return;
    this.view.paused = this.own.paused = paused;
    this.stepping = false;
    byId("pause").setAttribute("aria-pressed", String(paused));
    byId("pause").setAttribute("aria-label", paused ? "go on" : "pause");
    byId("pause").textContent = paused ? "▶" : "❚❚";
    if (paused) setState("paused");
    else this.view.chosen = null;
    if (!paused && this.own.moves) this.own.again();
    this.watch();
    this.redraw();
  }

  /** Show the read before or after; after the last that came the next frame. */
  step(count) {
    this.setPaused(true);
    const index = this.view.reads.indexOf(this.view.read) + count;
    if (index < this.view.reads.length) return this.view.choose(index);
    if (this.own.moves) this.own.again();
    else if (!this.own.on) {
      this.stepping = true;
      this.watch();
    }
  }

  listen() {
    byId("pause").onclick = () => this.setPaused(!this.view.paused);
    byId("back").onclick = () => this.step(-1);
    byId("forward").onclick = () => this.step(1);
    byId("scrubber").addEventListener("input", ({ target }) => {
      const index = Number(target.value) - 1;
      this.setPaused(true);
      this.view.choose(index);
    });
    byId("snapshot").onclick = () => snapshot(byId("video"));
    byId("record").onclick = () => {
      this.recorder.toggle();
      byId("record").setAttribute("aria-pressed", String(this.recorder.on));
      byId("record").textContent = this.recorder.on ? "stop" : "record";
    };
    document.addEventListener("keydown", (event) => {
      if (event.target.closest("select, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
      const act = { k: () => this.setPaused(!this.view.paused), ",": () => this.step(-1), ".": () => this.step(1) }[event.key];
      if (act) act();
    });
    byId("rates").addEventListener("click", ({ target }) => {
      const layer = target.closest(".rate")?.firstChild.textContent;
      if (layer) this.set({ heat_layer: layer === byId("heat").value ? null : layer });
    });
    this.listenFiles();
  }

  listenFiles() {
    const open = (file) => (file.type.startsWith("video/") ? this.own.openVideo(file) : this.own.openPicture(file));
    for (const id of ["picture", "clip"])
      byId(id).addEventListener("change", ({ target }) => {
        const [file] = target.files;
        target.value = "";
        if (file && this.view.hello) open(file);
      });
    const drop = byId("drop");
    const dragging = (on) => (event) => {
      event.preventDefault();
      drop.classList.toggle("dragging", on);
    };
    drop.addEventListener("dragover", dragging(true));
    drop.addEventListener("dragleave", dragging(false));
    drop.addEventListener("drop", (event) => {
      dragging(false)(event);
      if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
    });
  }

  // --- painting -----------------------------------------------------------------------------

  /** Let the server know how long a frame took to get onto the page. */
  tellSeen() {
    const { newest, done } = this.view;
    if (!done || newest.own || newest.frame === this.seen) return;
    this.seen = newest.frame;
    this.connection.send({ type: "seen", frame: newest.frame });
  }

  redraw() {
    this.dirty = true;
  }

  paint() {
    if (this.dirty && this.view.hello) {
      this.dirty = false;
      this.stage.draw();
      this.trace.draw();
      Object.values(this.rasters).forEach((raster) => raster.draw());
      this.figures.show(this.rasters);
      this.tellSeen();
    }
    requestAnimationFrame(() => this.paint());
  }
}

const page = new Page();
page.start();
window.spyv4 = page; // for the console, and for tests
