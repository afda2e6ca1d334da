"use strict";

// Spikes of all layers over the newest reads, and two canvases that scroll through them.

const ROWS = 80; // neurons shown
const ROW_PX = 2;
const COLUMN_PX = 3;
const HISTORY = 400; // reads remembered

class SpikeHistory {
  constructor() {
    this.columns = []; // {layers: {name: Uint8Array}, first: bool}, oldest first
  }

  add(rasters, first) {
    const layers = {};
    for (const [name, [count, bits]] of Object.entries(rasters)) layers[name] = unpack(bits, count);
    this.columns.push({ layers, first });
    if (this.columns.length > HISTORY) this.columns.shift();
  }
}

function unpack(bits, count) {
  const bytes = atob(bits);
  const spikes = new Uint8Array(count);
  for (let i = 0; i < count; i++) spikes[i] = (bytes.charCodeAt(i >> 3) >> (7 - (i & 7))) & 1;
  return spikes;
}

/** A colour without opacity as the memory of a canvas holds it. */
function packed(red, green, blue) {
  return red | (green << 8) | (blue << 16);
}

class RasterView {
  constructor(canvas, history, rgb) {
    this.canvas = canvas;
    this.history = history;
    this.rgb = rgb;
    this.layer = null;
    this.pixels = document.createElement("canvas");
    this.pixels.height = ROWS;
    canvas.style.height = `${ROWS * ROW_PX}px`;
  }

  draw() {
    const scale = Math.max(1, Math.round(window.devicePixelRatio || 1));
    const width = Math.max(1, Math.floor(this.canvas.clientWidth / COLUMN_PX));
    if (this.pixels.width !== width || this.canvas.height !== ROWS * ROW_PX * scale) {
      this.pixels.width = width;
      this.canvas.width = width * COLUMN_PX * scale;
      this.canvas.height = ROWS * ROW_PX * scale;
    }
    this.plot(width);
    const context = this.canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.pixels, 0, 0, this.canvas.width, this.canvas.height);
  }

  plot(width) {
    const context = this.pixels.getContext("2d");
    const image = context.createImageData(width, ROWS);
    const pixels = new Uint32Array(image.data.buffer);
    const columns = this.history.columns;
    const spike = packed(...this.rgb);
    const mark = packed(130, 150, 190) | (34 << 24); // where a picture begins
    for (let x = 0; x < width; x++) {
      const column = columns[columns.length - width + x];
      if (!column) continue;
      const spikes = column.layers[this.layer];
      const age = (width - 1 - x) / width;
      const alpha = Math.round(x === width - 1 ? 255 : 235 * (1 - 0.72 * age));
      for (let y = 0; y < ROWS; y++) {
        // The sample is ordered by channel: rows spread over all of it.
        if (spikes && spikes[Math.floor((y * spikes.length) / ROWS)]) pixels[y * width + x] = spike | (alpha << 24);
        else if (column.first) pixels[y * width + x] = mark;
      }
    }
    context.putImageData(image, 0, 0);
  }
}
