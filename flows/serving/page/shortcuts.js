// One key for what people do most. Not while somebody types, and never with Ctrl, Alt or Command.

import { byId } from "./dom.js";
import { shortcutsDialog } from "./dialogs.js";
import { copyLink } from "./sharing.js";

const BUTTONS = { k: "keep", b: "branch", w: "add-to-walk", e: "redo", x: "explain", n: "nearest", d: "download" };

export function listenToKeys(app) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=range]), select, textarea, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const act = actionOf(key, app);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function actionOf(key, app) {
  const { state } = app.store;
  if (key in BUTTONS) return byId(BUTTONS[key]) && (() => byId(BUTTONS[key]).click());
  if (/^[1-9]$/.test(key))
    return app.shownViews()[key - 1] && (() => app.store.set({ view: app.shownViews()[key - 1].id }));
  const step = (by) => () => app.store.set({ seed: (state.seed + by + 2 ** 32) % 2 ** 32 });
  return {
    r: app.shuffle,
    l: () => copyLink(app, state),
    "[": step(-state.count),
    "]": step(state.count),
    "?": shortcutsDialog,
    Escape: () => app.select(null),
  }[key];
}
