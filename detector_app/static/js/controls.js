// Sliders, boxes to tick, sources, layers: what the visitor sets, and the link that restores it.

import { byId, node, radioKeys } from "./dom.js";
import { notify } from "./notice.js";

const SLIDERS = { reads: "reads", score: "score_threshold", iou: "iou_threshold" };
export const OWN = { camera: "my camera", picture: "a picture…", video: "a video…" };

export class Controls {
  /** `set` sends settings, `choose` turns to a source, `redraw` paints again. */
  constructor(view, rasters, { set, choose, redraw }) {
    Object.assign(this, { view, rasters, set, choose, redraw, source: null, own: null });
    radioKeys(byId("sources"));
    for (const [id, name] of Object.entries(SLIDERS)) byId(id).addEventListener("input", () => this.slide(id, name));
    byId("auto").addEventListener("change", () => this.set({ reads: byId("auto").checked ? "auto" : Number(byId("reads").value) }));
    byId("carry").addEventListener("change", () => this.set({ carry_state: byId("carry").checked }));
    byId("heat").addEventListener("change", () => this.set({ heat_layer: byId("heat").value || null }));
    for (const id of Object.keys(rasters)) byId(`${id}-layer`).addEventListener("change", ({ target }) => this.pick(id, target.value));
    byId("link").onclick = () => this.copyLink();
  }

  slide(id, name) {
    const value = Number(byId(id).value);
    this.label(id, value);
    if (id === "reads") byId("auto").checked = false;
    this.set({ [name]: value }); // alone: a slider may round what the others were set to
  }

  label(id, value) {
    byId(`${id}-value`).textContent = id === "reads" ? value : value.toFixed(2);
  }

  pick(id, layer) {
    this.rasters[id].layer = layer;
    byId(`${id}-layer`).value = layer;
    this.mark();
    this.redraw();
  }

  welcome() {
    const { hello } = this.view;
    byId("reads").max = Math.min(32, hello.max_reads);
    const options = () => hello.layers.map((name) => new Option(name, name));
    Object.keys(this.rasters).forEach((id, index) => {
      byId(`${id}-layer`).replaceChildren(...options());
      this.pick(id, this.rasters[id].layer ?? hello.shown_layers[index]);
    });
    byId("heat").replaceChildren(new Option("no layer", ""), ...options());
    byId("class-list").replaceChildren(...hello.classes.map(({ name }) => {
      const label = node("label", "", "check");
      const box = Object.assign(node("input"), { type: "checkbox", value: name });
      box.addEventListener("change", () => this.set({ classes: this.classes }));
      label.append(box, name);
      return label;
    }));
    this.apply();
    this.sources();
  }

  get classes() {
    return [...byId("class-list").querySelectorAll("input:checked")].map((box) => box.value);
  }

  /** Show what is set. */
  apply() {
    if (!this.view.hello) return;
    const { settings } = this.view;
    for (const [id, name] of Object.entries(SLIDERS)) {
      if (typeof settings[name] !== "number") continue;
      if (id === "reads" && settings.reads > Number(byId(id).max)) byId(id).max = settings.reads;
      byId(id).value = settings[name];
      this.label(id, settings[name]);
    }
    byId("auto").checked = settings.reads === "auto";
    if (settings.reads === "auto") byId("reads-value").textContent = "auto";
    byId("carry").checked = settings.carry_state;
    byId("heat").value = settings.heat_layer ?? "";
    const chosen = settings.classes ?? [];
    byId("class-list").querySelectorAll("input").forEach((box) => (box.checked = chosen.includes(box.value)));
    byId("classes-value").textContent = chosen.join(", ") || "all";
    this.mark();
  }

  mark() {
    const rows = byId("rates").children;
    this.view.hello.layers.forEach((name, index) => {
      for (const [id, raster] of Object.entries(this.rasters)) rows[index].classList.toggle(`is-${id}`, name === raster.layer);
      rows[index].classList.toggle("is-heat", name === byId("heat").value);
    });
  }

  /** The sources as buttons, of which one is checked. */
  sources() {
    const current = this.own ? OWN[this.own] : this.source;
    const group = byId("sources");
    const focused = group.contains(document.activeElement) ? document.activeElement.title : null;
    group.replaceChildren(...[...this.view.hello.sources, ...Object.values(OWN)].map((name) => {
      const button = node("button", name.split(/[\\/]/).pop() || name);
      Object.assign(button, { type: "button", title: name, tabIndex: name === current ? 0 : -1 });
      if (Object.values(OWN).includes(name)) button.dataset.opens = "yes";
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", String(name === current));
      button.onclick = () => this.choose(name);
      return button;
    }));
    if (![...group.children].some((button) => button.tabIndex === 0)) group.firstChild.tabIndex = 0;
    if (focused) [...group.children].find((button) => button.title === focused)?.focus();
  }

  async copyLink() {
    const { settings } = this.view;
    const said = { reads: settings.reads, score: settings.score_threshold, iou: settings.iou_threshold };
    if (settings.carry_state) said.carry = 1;
    if (settings.classes?.length) said.classes = settings.classes.join(",");
    if (settings.heat_layer) said.heat = settings.heat_layer;
    if (this.source && !this.own) said.source = this.source;
    for (const [id, raster] of Object.entries(this.rasters)) said[id] = raster.layer;
    history.replaceState(null, "", `#${new URLSearchParams(said)}`);
    try {
      await navigator.clipboard.writeText(location.href);
      notify("the link is in the clipboard");
    } catch {
      notify("the link is in the address bar");
    }
  }
}

/** What a link says: settings for the server, the source, and the layers of the rasters. */
export function readLink() {
  const said = new URLSearchParams(location.hash.slice(1));
  const settings = {};
  const number = (name) => (said.has(name) ? Number(said.get(name)) : undefined);
  if (said.has("reads")) settings.reads = said.get("reads") === "auto" ? "auto" : number("reads");
  if (said.has("score")) settings.score_threshold = number("score");
  if (said.has("iou")) settings.iou_threshold = number("iou");
  if (said.has("carry")) settings.carry_state = said.get("carry") === "1";
  if (said.has("classes")) settings.classes = said.get("classes").split(",");
  if (said.has("heat")) settings.heat_layer = said.get("heat");
  return { settings, source: said.get("source"), layers: { shallow: said.get("shallow"), deep: said.get("deep") } };
}
