// Finding and making elements, and saving files.

export const byId = (id) => document.getElementById(id);

export function node(tag, text = "", className = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}

/** Hand a blob to the visitor as a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A time stamp that file names may have. */
export const stamp = () => new Date().toISOString().slice(0, 19).replaceAll(":", "-");

/** The value of a variable of the style sheet, as the theme has it. */
export const styled = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Arrow keys move through a group of radio buttons, of which one alone is in the order of tabs. */
export function radioKeys(group) {
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const buttons = [...group.children];
    const index = buttons.indexOf(document.activeElement);
    if (!step || index < 0) return;
    event.preventDefault();
    const next = buttons[(index + step + buttons.length) % buttons.length];
    next.focus();
    if (!next.dataset.opens) next.click(); // what opens a dialog waits for Enter
  });
}
