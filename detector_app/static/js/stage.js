// The picture with its boxes, soft and wide at the first read and crisp at the last, and heat.

import { isLast } from "./view.js";

const HEAT = [255, 96, 140];

export class Stage {
  constructor(canvas, view) {
    this.canvas = canvas;
    this.view = view;
    this.heat = document.createElement("canvas");
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const { picture, read, before } = this.view;
    if (!picture) return context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.fit(picture);
    context.drawImage(picture, 0, 0, this.canvas.width, this.canvas.height);
    if (read && read.heat) this.warm(context, read.heat);
    const done = read && isLast(read);
    if (!done && before && this.view.chosen === null) this.boxes(context, before, 0.3, true);
    const sure = done ? 1 : read ? read.read / read.reads : 0;
    const looksBack = this.view.chosen !== null; // who looks back wants to see what was there
    if (read) this.boxes(context, read, looksBack ? 0.6 + 0.4 * sure : sure, false);
  }

  fit({ width, height }) {
    this.canvas.style.setProperty("--ratio", width / height); // the style sheet makes it fit
    const shown = Math.max(1, this.canvas.clientHeight * (window.devicePixelRatio || 1));
    const zoom = Math.max(1, Math.min(3, shown / height, 2400 / width)); // crisp on small pictures
    const [w, h] = [Math.round(width * zoom), Math.round(height * zoom)];
    if (this.canvas.width === w && this.canvas.height === h) return;
    this.canvas.width = w;
    this.canvas.height = h;
  }

  /** Where the chosen layer fires, over the picture. */
  warm(context, { rows, columns, cells }) {
    const bytes = atob(cells);
    this.heat.width = columns;
    this.heat.height = rows;
    const small = this.heat.getContext("2d");
    const image = small.createImageData(columns, rows);
    for (let i = 0; i < rows * columns; i++) image.data.set([...HEAT, bytes.charCodeAt(i) * 0.8], 4 * i);
    small.putImageData(image, 0, 0);
    context.save();
    context.globalCompositeOperation = "multiply"; // a darker picture below makes it glow
    context.fillStyle = "#8a8a95";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    context.globalCompositeOperation = "screen";
    context.imageSmoothingQuality = "high";
    context.drawImage(this.heat, 0, 0, this.canvas.width, this.canvas.height);
    context.restore();
  }

  boxes(context, read, progress, ghost) {
    const [sx, sy] = [this.canvas.width / read.width, this.canvas.height / read.height];
    const shown = this.canvas.clientHeight;
    const unit = Math.max(1, shown ? this.canvas.height / shown : 1);
    this.taken = []; // places of labels: those of lower scores lie elsewhere
    const places = new Map(ghost ? [] : read.detections.map((found) => [found, this.place(context, found, [sx, sy], unit)]));
    for (const found of [...read.detections].reverse()) { // the highest score last: on top
      const [left, top, right, bottom] = found.box;
      const box = [left * sx, top * sy, (right - left) * sx, (bottom - top) * sy];
      context.save();
      context.strokeStyle = this.view.colour(found.class_id);
      context.lineJoin = "round";
      if (ghost) this.ghost(context, box, progress, unit);
      else this.box(context, box, progress, unit, places.get(found));
      context.restore();
    }
  }

  ghost(context, box, opacity, unit) {
    context.globalAlpha = opacity;
    context.setLineDash([6 * unit, 5 * unit]);
    context.lineWidth = 1.2 * unit;
    context.strokeRect(...box);
  }

  box(context, box, progress, unit, label) {
    context.globalAlpha = 0.1 + 0.22 * (1 - progress); // the halo narrows with every read
    context.lineWidth = (3 + 11 * (1 - progress)) * unit;
    context.strokeRect(...box);
    context.globalAlpha = 0.35 + 0.65 * progress;
    context.lineWidth = (1.2 + 1.1 * progress) * unit;
    context.strokeRect(...box);
    context.globalAlpha = 1;
    this.label(context, label, unit);
  }

  /** Where the label of an object fits: at the top of its box, below those that are there. */
  place(context, found, [sx, sy], unit) {
    const text = `${found.class} ${(found.score * 100).toFixed(0)}%`;
    context.font = `600 ${13 * unit}px system-ui, "Liberation Sans", sans-serif`;
    const [width, height] = [context.measureText(text).width + 12 * unit, 20 * unit];
    const [x, y] = [found.box[0] * sx, found.box[1] * sy];
    const left = Math.max(0, Math.min(x - unit, this.canvas.width - width));
    let top = y >= height ? y - height : Math.max(0, y);
    const hidden = ([l, t, w]) => left < l + w && l < left + width && Math.abs(t - top) < height;
    while (this.taken.some(hidden) && top < this.canvas.height - 2 * height) top += height / 4;
    this.taken.push([left, top, width]);
    return { text, left, top, width, height };
  }

  label(context, { text, left, top, width, height }, unit) {
    context.font = `600 ${13 * unit}px system-ui, "Liberation Sans", sans-serif`;
    context.fillStyle = context.strokeStyle;
    context.beginPath();
    context.roundRect(left, top, width, height, 4 * unit);
    context.fill();
    context.fillStyle = "#0a0d13";
    context.textBaseline = "middle";
    context.fillText(text, left + 6 * unit, top + height / 2 + unit / 2);
  }
}
