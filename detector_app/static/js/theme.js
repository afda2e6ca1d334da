// Light or dark: as the system has it, until the visitor says otherwise.

import { byId } from "./dom.js";

const KEY = "spyv4-theme";

export function startTheme(changed) {
  const chosen = localStorage.getItem(KEY);
  if (chosen) document.documentElement.dataset.theme = chosen;
  byId("theme").onclick = () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem(KEY, next);
    changed();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
