// Figures beside the picture: what was found, rates, energy, speed.

import { byId, node } from "./dom.js";

const percent = (share) => `${(100 * share).toFixed(1)}%`;
const WINDOW_MS = 3000;
const LATENCIES = 60;

/** A number with three digits and a prefix: 12.3 M. */
function short(number) {
  const [unit, factor] = [[" G", 1e9], [" M", 1e6], [" k", 1e3]].find(([, size]) => number >= size) ?? ["", 1];
  return `${(number / factor).toPrecision(3)}${unit}`;
}

export class Figures {
  constructor(view) {
    this.view = view;
    this.latencies = [];
    this.ticks = { pictures: [], reads: [] };
    this.peak = 0.01;
  }

  welcome() {
    const { hello } = this.view;
    this.model(hello.runtime);
    byId("rates").replaceChildren(...hello.layers.map((name) => {
      const row = node("div", "", "rate");
      const track = node("div");
      track.append(node("i"));
      row.append(Object.assign(node("span", name), { title: name }), track, node("span"));
      return row;
    }));
    const { accumulate_pj: add, multiply_accumulate_pj: multiply, twin_multiply_accumulates: twin } = hello.energy;
    byId("formula").replaceChildren(
      node("code", `E = ${add} pJ × synaptic operations + ${multiply} pJ × multiply-accumulates`),
      node("p", `Synaptic operations: for each read and layer, the share of ones in what the layer receives × its synapses. Multiply-accumulates: the first layer (pixels are no spikes), once a picture, and the 3×3 convolutions in which the neurons compute their rates, at every read. Without spikes the same layers take ${short(twin)} multiply-accumulates, once.`),
      node("p", `${add} pJ is a 32-bit addition, ${multiply} pJ that and a multiplication, at 45 nm (Horowitz, ISSCC 2014). Memory is not counted, which takes more on real hardware: an estimate that compares arithmetic, not a measurement of this computer.`),
    );
  }

  /** What runs and how, which changes once the network is compiled. */
  model(runtime, build) {
    const { hello } = this.view;
    const compiling = build === "building" ? " (compiling beside it)" : "";
    byId("model").textContent = `${hello.model} · ${runtime}${compiling} · ${hello.version}`;
  }

  tick(kind) {
    this.ticks[kind].push(performance.now());
  }

  rate(kind) {
    const now = performance.now();
    const ticks = (this.ticks[kind] = this.ticks[kind].filter((time) => time > now - WINDOW_MS));
    return ticks.length < 2 ? 0 : (1000 * (ticks.length - 1)) / (now - ticks[0]);
  }

  late(latency_ms) {
    this.latencies.push(latency_ms);
    if (this.latencies.length > LATENCIES) this.latencies.shift();
  }

  /** Forget how fast the source before was. */
  reset() {
    this.latencies = [];
  }

  /** Show the read that is on show. */
  show(rasters) {
    const { read, reads } = this.view;
    const scrubber = byId("scrubber");
    scrubber.max = Math.max(1, reads.length);
    scrubber.value = read ? reads.indexOf(read) + 1 : 1;
    scrubber.disabled = !read;
    byId("read").textContent = read ? read.read : 0;
    byId("read-total").textContent = this.view.expected;
    if (!read) return; // the first of a picture is on its way
    this.found(read.detections);
    this.peak = Math.max(this.peak, ...read.firing_rates);
    const rows = byId("rates").children;
    read.firing_rates.forEach((rate, index) => {
      rows[index].querySelector("i").style.width = `${(100 * rate) / this.peak}%`;
      rows[index].lastChild.textContent = percent(rate);
    });
    byId("rate-scale").textContent = percent(this.peak);
    for (const [id, raster] of Object.entries(rasters)) {
      const index = this.view.hello.layers.indexOf(raster.layer);
      byId(`${id}-rate`).textContent = `${percent(read.firing_rates[index])} spike`;
    }
    const mean = read.firing_rates.reduce((sum, rate) => sum + rate, 0) / read.firing_rates.length;
    byId("firing").textContent = percent(mean);
    this.energy(read);
  }

  found(detections) {
    const items = detections.map((found) => {
      const item = node("li", `${found.class} ${(found.score * 100).toFixed(0)}%`);
      const dot = node("i");
      dot.style.background = this.view.colour(found.class_id);
      item.prepend(dot);
      return item;
    });
    if (!items.length) items.push(node("li", this.nothing, "none"));
    byId("found").replaceChildren(...items);
  }

  /** What is said where nothing was found. */
  get nothing() {
    const { classes } = this.view.settings;
    return classes?.length ? `no ${classes.join(", ")} above the score threshold` : "nothing above the score threshold";
  }

  energy({ operations, read }) {
    if (!operations || operations.energy_mj === undefined) return;
    const twin = this.view.hello.energy.twin_energy_mj;
    const most = Math.max(twin, (operations.energy_mj / read) * this.view.expected); // at the last read
    const ratio = operations.energy_mj / twin;
    const words = ratio > 1 ? `${ratio.toFixed(1)} × as much as` : `${(100 * ratio).toFixed(0)}% of`;
    byId("energy-read").textContent = read;
    byId("energy-verdict").textContent = `Here spiking takes ${words} the same layers without spikes.`;
    byId("energy-mj").textContent = `${operations.energy_mj.toPrecision(3)} mJ`;
    byId("twin-mj").textContent = `${twin.toPrecision(3)} mJ`;
    byId("energy-bar").style.width = `${(100 * operations.energy_mj) / most}%`;
    byId("twin-bar").style.width = `${(100 * twin) / most}%`;
    byId("operations").textContent = short(operations.synaptic_operations);
    byId("spikes").textContent = short(operations.spikes);
    byId("macs").textContent = short(operations.multiply_accumulates);
  }

  /** How fast it is; `statistics` are the server's, null for pictures of the visitor. */
  speed(statistics) {
    const sorted = [...this.latencies].sort((a, b) => a - b);
    const own = (share) => (sorted.length ? sorted[Math.floor(share * (sorted.length - 1))] : 0);
    const { p50, p95 } = statistics ? statistics.latency_ms.page : { p50: own(0.5), p95: own(0.95) };
    byId("fps").textContent = this.rate("pictures").toFixed(1);
    byId("reads-rate").textContent = this.rate("reads").toFixed(0);
    byId("p50").textContent = p50 ? p50.toFixed(0) : "–";
    byId("p95").textContent = p95 ? p95.toFixed(0) : "–";
    byId("dropped").textContent = statistics ? statistics.per_second.drop.toFixed(1) : "0";
    if (statistics) this.model(statistics.runtime, statistics.build);
  }
}

export function setState(state) {
  byId("state").textContent = byId("state").dataset.state = state;
}
