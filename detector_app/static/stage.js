"use strict";

// The picture with its boxes: soft and wide at the first read, crisp at the last.

class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.picture = null;
    this.result = null; // newest read of the picture on show
    this.settled = null; // last read of the picture before
    this.classes = [];
  }

  show(picture) {
    if (this.picture && this.picture !== picture) this.picture.close();
    this.picture = picture;
    if (this.result && this.result.read === this.result.reads) this.settled = this.result;
    this.result = null;
  }

  clear() {
    if (this.picture) this.picture.close();
    this.picture = this.result = this.settled = null;
    this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    if (!this.picture) {
      context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      return;
    }
    const { width, height } = this.picture;
    this.canvas.style.setProperty("--ratio", width / height); // the style sheet makes it fit
    const shown = Math.max(1, this.canvas.clientHeight * (window.devicePixelRatio || 1));
    const zoom = Math.max(1, Math.min(3, shown / height, 2400 / width)); // crisp lines on small pictures
    const [w, h] = [Math.round(width * zoom), Math.round(height * zoom)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
    }
    context.drawImage(this.picture, 0, 0, w, h);
    const done = this.result && this.result.read === this.result.reads;
    if (!done && this.settled) this.boxes(context, this.settled, 0.3, true);
    if (this.result) this.boxes(context, this.result, this.result.read / this.result.reads, false);
  }

  boxes(context, result, progress, ghost) {
    const [sx, sy] = [this.canvas.width / result.width, this.canvas.height / result.height];
    const unit = Math.max(1, this.canvas.clientHeight ? this.canvas.height / this.canvas.clientHeight : 1);
    for (const found of [...result.detections].reverse()) { // the highest score last: on top
      const [left, top, right, bottom] = found.box;
      const [x, y, w, h] = [left * sx, top * sy, (right - left) * sx, (bottom - top) * sy];
      const colour = this.colour(found.class_id);
      context.save();
      context.strokeStyle = colour;
      context.lineJoin = "round";
      if (ghost) {
        context.globalAlpha = progress;
        context.setLineDash([6 * unit, 5 * unit]);
        context.lineWidth = 1.2 * unit;
        context.strokeRect(x, y, w, h);
      } else {
        context.globalAlpha = 0.1 + 0.22 * (1 - progress); // the halo narrows with every read
        context.lineWidth = (3 + 11 * (1 - progress)) * unit;
        context.strokeRect(x, y, w, h);
        context.globalAlpha = 0.35 + 0.65 * progress;
        context.lineWidth = (1.2 + 1.1 * progress) * unit;
        context.strokeRect(x, y, w, h);
        this.label(context, found, x, y, colour, unit);
      }
      context.restore();
    }
  }

  label(context, found, x, y, colour, unit) {
    const text = `${found.class} ${(found.score * 100).toFixed(0)}%`;
    context.font = `600 ${13 * unit}px system-ui, "Liberation Sans", sans-serif`;
    const width = context.measureText(text).width + 12 * unit;
    const height = 20 * unit;
    const left = Math.max(0, Math.min(x - unit, this.canvas.width - width));
    const top = y >= height ? y - height : Math.max(0, y);
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(left, top, width, height, 4 * unit);
    this.bare(context); // or a label below would show through until the last read
    context.fill();
    context.fillStyle = "#0a0d13";
    context.textBaseline = "middle";
    context.fillText(text, left + 6 * unit, top + height / 2 + unit / 2);
  }

  /** The picture without boxes inside of the current path. */
  bare(context) {
    context.save();
    context.clip();
    context.globalAlpha = 1;
    context.drawImage(this.picture, 0, 0, this.canvas.width, this.canvas.height);
    context.restore();
  }

  colour(label) {
    return this.classes[label] ? this.classes[label].colour : "#ffffff";
  }
}
