// A line over the picture: what went wrong, and what to do.

import { byId, node } from "./dom.js";

const SHOWN_MS = 6000;
let timer = 0; // that hides the line

export function notify(text, kind = "", action = "", run = null) {
  const notice = byId("notice");
  if (notice.dataset.text === text && !notice.hidden) return;
  notice.textContent = notice.dataset.text = text;
  notice.className = `notice ${kind}`;
  notice.dataset.retry = action;
  notice.hidden = false;
  clearTimeout(timer);
  if (!action) {
    timer = setTimeout(hideNotice, SHOWN_MS);
    return;
  }
  const button = node("button", action);
  button.type = "button";
  button.onclick = () => {
    hideNotice();
    run();
  };
  notice.append(button);
}

export function hideNotice() {
  byId("notice").hidden = true;
  byId("notice").dataset.retry = "";
}
