// Spikes over the newest reads: a memory of fixed size, and canvases that scroll through it.

import { styled } from "./dom.js";

const ROWS = 80; // neurons shown
const ROW_PX = 2;
const COLUMN_PX = 3;
const HISTORY = 400; // reads remembered

/** The newest reads, oldest first: {layers: {name: Uint8Array}, first, read, picture}. */
export class SpikeHistory {
  constructor() {
    this.columns = [];
    this.pictures = 0;
  }

  add({ rasters, read }) {
    if (read === 1) this.pictures += 1;
    const old = this.columns.length < HISTORY ? { layers: {} } : this.columns.shift(); // used again
    for (const [name, [count, bits]] of Object.entries(rasters)) old.layers[name] = unpack(bits, count, old.layers[name]);
    this.columns.push(Object.assign(old, { first: read === 1, read, picture: this.pictures }));
  }
}

function unpack(bits, count, spikes) {
  const bytes = atob(bits);
  const into = spikes && spikes.length === count ? spikes : new Uint8Array(count);
  for (let i = 0; i < count; i++) into[i] = (bytes.charCodeAt(i >> 3) >> (7 - (i & 7))) & 1;
  return into;
}

/** A colour "#rrggbb" without opacity as the memory of a canvas holds it. */
function packed(colour) {
  const number = parseInt(colour.slice(1), 16);
  return (number >> 16) | (number & 0xff00) | ((number & 0xff) << 16);
}

export class Raster {
  /** `variable` names the colour of the spikes in the style sheet. */
  constructor(canvas, history, variable) {
    this.canvas = canvas;
    this.history = history;
    this.variable = variable;
    this.layer = null;
    this.pixels = document.createElement("canvas");
    this.pixels.height = ROWS;
    canvas.style.height = `${ROWS * ROW_PX}px`;
    canvas.addEventListener("pointermove", (event) => (canvas.title = this.at(event)));
  }

  get columns() {
    return Math.max(1, Math.floor(this.canvas.clientWidth / COLUMN_PX));
  }

  draw() {
    const scale = Math.max(1, Math.round(window.devicePixelRatio || 1));
    const width = this.columns;
    if (this.pixels.width !== width || this.canvas.height !== ROWS * ROW_PX * scale) {
      this.pixels.width = width;
      this.canvas.width = width * COLUMN_PX * scale;
      this.canvas.height = ROWS * ROW_PX * scale;
      this.image = null;
    }
    this.plot(width);
    const context = this.canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.pixels, 0, 0, this.canvas.width, this.canvas.height);
  }

  plot(width) {
    const context = this.pixels.getContext("2d");
    this.image ??= context.createImageData(width, ROWS);
    const pixels = new Uint32Array(this.image.data.buffer).fill(0);
    const { columns } = this.history;
    const spike = packed(styled(this.variable));
    const mark = packed(styled("--muted")) | (26 << 24); // where a picture begins
    for (let x = 0; x < width; x++) {
      const column = columns[columns.length - width + x];
      if (!column) continue;
      const spikes = column.layers[this.layer];
      const alpha = Math.round(x === width - 1 ? 255 : 235 * (1 - (0.72 * (width - 1 - x)) / width));
      for (let y = 0; y < ROWS; y++) {
        if (spikes && spikes[neuron(y, spikes)]) pixels[y * width + x] = spike | (alpha << 24);
        else if (column.first) pixels[y * width + x] = mark;
      }
    }
    context.putImageData(this.image, 0, 0);
  }

  /** Names the neuron and the read under the pointer. */
  at({ offsetX, offsetY }) {
    const { columns } = this.history;
    const { clientWidth, clientHeight } = this.canvas;
    const age = this.columns - 1 - Math.floor((offsetX * this.columns) / clientWidth);
    const column = columns[columns.length - 1 - age];
    const spikes = column && column.layers[this.layer];
    if (!spikes) return "";
    const row = Math.max(0, Math.min(ROWS - 1, Math.floor((offsetY * ROWS) / clientHeight)));
    const index = neuron(row, spikes);
    const when = age ? `${age} reads ago` : "now";
    return `neuron ${index + 1} of the ${spikes.length} drawn from ${this.layer}: ${spikes[index] ? "a spike" : "silent"} at read ${column.read} of picture ${column.picture}, ${when}`;
  }
}

/** The sample is ordered by channel: rows spread over all of it. */
const neuron = (row, spikes) => Math.floor((row * spikes.length) / ROWS);
