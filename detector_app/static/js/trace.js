// The score of every object after each read: one line an object.

import { styled } from "./dom.js";

const SAME = 0.4; // boxes of a class that overlap more from read to read are one object
const LETTERS = 11; // height of a name
const DASHES = [[], [7, 3], [2, 3]];
const EDGE = { left: 40, right: 78, top: 8, bottom: 18 };

export class Trace {
  constructor(canvas, view) {
    this.canvas = canvas;
    this.view = view;
  }

  draw() {
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width) return;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    context.font = '11px system-ui, "Liberation Sans", sans-serif';
    const { reads } = this.view;
    const most = Math.max(2, this.view.expected);
    const x = (read) => EDGE.left + ((read - 1) / (most - 1)) * (width - EDGE.left - EDGE.right);
    const y = (score) => EDGE.top + (1 - score) * (height - EDGE.top - EDGE.bottom);
    this.axes(context, x, y, most, [width, height]);
    const lines = objects(reads);
    lines.forEach((line, index) => this.line(context, line, x, y, lines.slice(0, index)));
    this.names(context, lines, x, y, height);
    if (!this.view.read) return;
    context.strokeStyle = styled("--accent");
    context.setLineDash([3, 3]);
    const now = x(this.view.read.read);
    segment(context, now, EDGE.top, now, height - EDGE.bottom);
    context.setLineDash([]);
  }

  axes(context, x, y, most, [width, height]) {
    context.strokeStyle = styled("--line");
    context.fillStyle = styled("--muted");
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const score of [0, 0.5, 1]) {
      segment(context, EDGE.left, y(score), width - EDGE.right, y(score));
      context.fillText(`${100 * score}%`, EDGE.left - 5, y(score));
    }
    context.textAlign = "center";
    const step = Math.ceil(most / 8);
    for (let read = most; read >= 1; read -= step) context.fillText(read, x(read), height - 7);
    context.textAlign = "left";
    context.fillText("read", x(most) + 12, height - 7);
    context.setLineDash([2, 4]);
    const least = y(this.view.settings.score_threshold ?? 0);
    segment(context, EDGE.left, least, width - EDGE.right, least);
    context.setLineDash([]);
  }

  /** Lines of one class differ in their dashes. */
  line(context, { found, points }, x, y, before) {
    const alike = before.filter((line) => line.found.class_id === found.class_id).length;
    context.strokeStyle = context.fillStyle = this.view.colour(found.class_id);
    context.lineWidth = 2;
    context.setLineDash(DASHES[alike % DASHES.length]);
    context.beginPath();
    for (const [read, score] of points) context.lineTo(x(read), y(score));
    context.stroke();
    context.setLineDash([]);
    context.lineWidth = 1;
    for (const [read, score] of points) {
      context.beginPath();
      context.arc(x(read), y(score), 2.5, 0, 7);
      context.fill();
    }
  }

  /** The class at the end of every line, each at a height of its own. */
  names(context, lines, x, y, height) {
    context.fillStyle = styled("--text");
    const taken = [];
    const ends = lines.map(({ found, points }) => ({ found, at: points[points.length - 1] }));
    for (const { found, at: [read, score] } of ends.sort((a, b) => b.at[1] - a.at[1])) {
      const left = x(read) + 6;
      let level = y(score);
      while (taken.some(([l, other]) => Math.abs(l - left) < 70 && Math.abs(other - level) < LETTERS)) level += 1;
      if (level > height - EDGE.bottom) continue;
      taken.push([left, level]);
      context.fillText(found.class, left, level);
    }
  }
}

function segment(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

/** Boxes of successive reads as objects: [{found, points: [[read, score], ...]}]. */
export function objects(reads) {
  const lines = [];
  for (const { read, detections } of reads) {
    const open = lines.filter((line) => line.points[line.points.length - 1][0] === read - 1);
    for (const found of detections) {
      const near = open
        .filter((line) => line.found.class_id === found.class_id && overlap(line.found.box, found.box) > SAME)
        .sort((a, b) => overlap(b.found.box, found.box) - overlap(a.found.box, found.box))[0];
      if (!near) lines.push({ found, points: [[read, found.score]] });
      else {
        open.splice(open.indexOf(near), 1);
        near.found = found;
        near.points.push([read, found.score]);
      }
    }
  }
  return lines;
}

/** Intersection over union. */
export function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
  return (width * height) / (area(a) + area(b) - width * height);
}
