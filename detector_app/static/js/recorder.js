// Snapshots, and recordings of the view: a WebM, and a line of JSON for every read.

import { save, stamp } from "./dom.js";
import { notify } from "./notice.js";

const FRAMES_PER_S = 15;
const LEFT_OUT = ["rasters", "heat", "type"];

export function snapshot(canvas) {
  canvas.toBlob((blob) => save(blob, `spyv4-${stamp()}.png`), "image/png");
}

export class Recorder {
  constructor(canvas) {
    this.canvas = canvas;
    this.media = null;
    this.lines = [];
  }

  get on() {
    return this.media !== null;
  }

  toggle() {
    return this.on ? this.stop() : this.start();
  }

  start() {
    if (!window.MediaRecorder) return notify("this browser records no video", "bad");
    const pieces = [];
    const name = `spyv4-${stamp()}`;
    this.lines = [];
    this.media = new MediaRecorder(this.canvas.captureStream(FRAMES_PER_S), { mimeType: "video/webm" });
    this.media.ondataavailable = ({ data }) => pieces.push(data);
    this.media.onstop = () => {
      save(new Blob(pieces, { type: "video/webm" }), `${name}.webm`);
      save(new Blob(this.lines, { type: "application/x-ndjson" }), `${name}.jsonl`);
    };
    this.media.start(1000);
  }

  stop() {
    this.media.stop();
    this.media = null;
  }

  /** Note a read while it records. */
  add(read) {
    if (!this.on) return;
    const kept = Object.entries(read).filter(([key]) => !LEFT_OUT.includes(key));
    this.lines.push(`${JSON.stringify(Object.fromEntries(kept))}\n`);
  }
}
