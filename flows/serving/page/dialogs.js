// The page's dialog: shortcuts, what to copy, and the question for a token.

import { byId, h } from "./dom.js";
import { commandLine, curl, python } from "./copy.js";

const SHORTCUTS = [
  ["R", "other seeds"],
  ["[ and ]", "earlier and later seeds"],
  ["Arrow keys, Enter", "move in the grid, select"],
  ["K", "keep the selected picture"],
  ["B", "branch from it"],
  ["W", "add it to the walk"],
  ["E", "draw on it"],
  ["X", "what drives it"],
  ["N", "nearest training images"],
  ["D", "download it"],
  ["L", "copy a link to this"],
  ["1 to 5", "change between the tabs"],
  ["Escape", "close"],
  ["?", "this list"],
];

export function shortcutsDialog() {
  open(
    "Keyboard shortcuts",
    h(
      "dl",
      { class: "shortcuts" },
      SHORTCUTS.flatMap(([keys, what]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, what)]),
    ),
  );
}

/** Offer a body of POST /v1/draw as a command line, curl and Python. */
export function copyDialog(body, model, copied) {
  const line = commandLine(body, model);
  const forms = [
    ["Command line", line.text ?? line.why, Boolean(line.text)],
    ["curl", curl(body, location.origin), true],
    ["Python", python(body, location.origin), true],
  ];
  const part = ([name, text, whole]) =>
    h(
      "section",
      {},
      h(
        "div",
        { class: "detail-head" },
        h("h3", {}, name),
        whole &&
          h("button", { type: "button", "aria-label": `Copy ${name}`, onclick: () => copied(text, name) }, "Copy"),
      ),
      whole ? h("pre", { tabindex: 0 }, text) : h("p", { class: "note" }, text),
    );
  open("The same pictures elsewhere", forms.map(part));
}

let asking = null; // one question for all requests that need a token

/** Ask for a token; resolves when the person gives one, and rejects when the dialog is closed without. */
export function tokenDialog(message) {
  asking ??= askForToken(message).finally(() => (asking = null));
  return asking;
}

function askForToken(message) {
  const field = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
  const form = h(
    "form",
    { method: "dialog" },
    h("p", {}, message),
    h("label", { for: "token" }, "Token"),
    h("div", { class: "row" }, field, h("button", { class: "main" }, "Use it")),
    h("p", { class: "note" }, "`genai serve token add NAME` makes one. This tab forgets it when it is closed."),
  );
  const dialog = open("This server asks for a token", form);
  field.focus();
  return new Promise((resolve, reject) => {
    form.addEventListener("submit", () => resolve(field.value.trim()));
    dialog.addEventListener(
      "close",
      () => reject(new Error("Without a token this server draws nothing. Reload the page to give one.")),
      { once: true },
    );
  });
}

function open(heading, ...contents) {
  const dialog = byId("dialog");
  const close = h(
    "button",
    { type: "button", class: "quiet icon", "aria-label": "Close", onclick: () => dialog.close() },
    "×",
  );
  dialog.replaceChildren(
    h("div", { class: "detail-head" }, h("h2", { id: "dialog-title" }, heading), close),
    ...contents.flat(),
  );
  if (!dialog.open) dialog.showModal();
  return dialog;
}
