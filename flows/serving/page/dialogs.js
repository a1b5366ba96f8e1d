// The page's dialog: shortcuts, what to copy, and the question for a token.

import { byId, h } from "./dom.js";
import { commandLine, curl, python } from "./copy.js";

const SHORTCUTS = [
  ["R", "other seeds"], ["[ and ]", "earlier and later seeds"], ["Arrow keys, Enter", "move in the grid, select"],
  ["K", "keep the selected picture"], ["B", "branch from it"], ["W", "add it to the walk"], ["E", "draw on it"],
  ["X", "what drives it"], ["N", "nearest training images"], ["D", "download it"], ["L", "copy a link to this"],
  ["1 to 5", "change between the tabs"], ["Escape", "close"], ["?", "this list"],
];

export function shortcutsDialog() {
  open("Keyboard shortcuts", h("dl", { class: "shortcuts" }, SHORTCUTS.flatMap(([keys, what]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, what)])));
}

/** Offer a body of POST /v1/draw as a command line, curl and Python. */
export function copyDialog(body, model, copied) {
  const line = commandLine(body, model);
  const forms = [["Command line", line.text ?? line.why, Boolean(line.text)], ["curl", curl(body, location.origin), true], ["Python", python(body, location.origin), true]];
  const part = ([name, text, whole]) => h("section", {}, h("div", { class: "detail-head" }, h("h3", {}, name), whole && h("button", { type: "button", "aria-label": `Copy ${name}`, onclick: () => copied(text, name) }, "Copy")), whole ? h("pre", { tabindex: 0 }, text) : h("p", { class: "note" }, text));
  open("The same pictures elsewhere", forms.map(part));
}

/** Ask for a token; resolves when the person gives one. */
export function tokenDialog(message) {
  return new Promise((resolve) => {
    const field = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
    const form = h("form", { method: "dialog", onsubmit: () => resolve(field.value.trim()) }, h("p", {}, message), h("label", { for: "token" }, "Token"), h("div", { class: "row" }, field, h("button", { class: "main" }, "Use it")), h("p", { class: "note" }, "`genai serve token add` makes one. It is forgotten when this tab is closed."));
    open("This server asks for a token", form);
    field.focus();
  });
}

function open(heading, ...contents) {
  const dialog = byId("dialog");
  const close = h("button", { type: "button", class: "quiet icon", "aria-label": "Close", onclick: () => dialog.close() }, "×");
  dialog.replaceChildren(h("div", { class: "detail-head" }, h("h2", { id: "dialog-title" }, heading), close), ...contents.flat());
  if (!dialog.open) dialog.showModal();
}
