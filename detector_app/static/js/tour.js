// The tour of a first visit: what is where, in a sentence each.

import { byId } from "./dom.js";

const SEEN = "spyv4-tour-seen";
const STOPS = [
  ["video", "A network that spikes", "Its neurons do not send numbers but single spikes, as those of a brain do. Here it looks for things in a picture."],
  ["scrubber", "It looks several times", "One look is a read. What it saw before is still in its neurons at the next, so boxes get better from read to read. Pause, and drag this to see every one."],
  ["trace", "It changes its mind", "A line for every object: how sure the network is after each read. Lines that fall or end are things that it took back."],
  ["raster-shallow", "Spikes as they come", "A row is one neuron, a column one read, a dot a spike. Few dots mean little work: silent neurons cost nothing."],
  ["energy-bar", "What that is worth", "The energy of the arithmetic, estimated, beside that of the same layers without spikes, whichever way it turns out. Every read costs: choose how many below the picture."],
];

export class Tour {
  constructor() {
    this.dialog = byId("tour");
    this.index = 0;
    byId("tour-next").onclick = () => (this.index < STOPS.length - 1 ? this.go(this.index + 1) : this.dialog.close());
    byId("tour-skip").onclick = () => this.dialog.close();
    this.dialog.addEventListener("close", () => this.end());
    byId("help").onclick = () => this.start();
  }

  /** Begin, unless it was seen before. */
  greet() {
    if (!localStorage.getItem(SEEN)) this.start();
  }

  start() {
    if (!this.dialog.open) this.dialog.show(); // the page stays in use beside it
    this.go(0);
    byId("tour-next").focus();
  }

  go(index) {
    this.index = index;
    const [id, title, text] = STOPS[index];
    byId("tour-title").textContent = title;
    byId("tour-text").textContent = text;
    byId("tour-place").textContent = `${index + 1} of ${STOPS.length}`;
    byId("tour-next").textContent = index < STOPS.length - 1 ? "next" : "done";
    this.mark(byId(id));
  }

  mark(element) {
    document.querySelectorAll(".toured").forEach((other) => other.classList.remove("toured"));
    const card = element && element.closest(".card");
    if (!card) return;
    card.classList.add("toured");
    card.scrollIntoView({ block: "start", behavior: "smooth" }); // the tour lies at the bottom
  }

  end() {
    localStorage.setItem(SEEN, "yes");
    window.scrollTo({ top: 0, behavior: "smooth" });
    this.mark(null);
  }
}
