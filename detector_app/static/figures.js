"use strict";

// What the page says of the picture on show: boxes, firing rates, figures, and notices.

let latencies = [];
let peakRate = 0.2; // firing rate that fills a bar
const ticks = { frames: [], reads: [] };

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

function showRead(read) {
  $("read").textContent = read.read;
  $("read-total").textContent = read.reads;
  const bar = $("read-bar");
  const segments = Math.min(read.reads, 64);
  if (bar.children.length !== segments) bar.replaceChildren(...Array.from({ length: segments }, () => node("i")));
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
    const item = node("li", `${found.class} ${(found.score * 100).toFixed(0)}%`);
    item.style.borderColor = item.style.color = stage.colour(found.class_id);
    return item;
  });
  if (!items.length) items.push(node("li", "nothing above the score threshold", "none"));
  $("found").replaceChildren(...items);
}

function showStatistics(statistics) {
  setState(own ? "running" : statistics.state);
  if (statistics.state === "lost" && !own)
    notify(statistics.error, "bad", "try again", () => post(`/api/retry?source=${encodeURIComponent(source)}`));
  else if ($("notice").dataset.retry) hideNotice();
  if (statistics.source && statistics.source !== source) {
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
      const row = node("div", "", "rate");
      const label = Object.assign(node("span", name), { title: name });
      const track = node("div");
      track.append(node("i"));
      row.append(label, track, node("span"));
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
    const button = node("button", action);
    button.onclick = () => { hideNotice(); run(); };
    notice.append(button);
  } else notify.timer = setTimeout(hideNotice, 6000);
}

function hideNotice() {
  $("notice").hidden = true;
  $("notice").dataset.retry = "";
}
