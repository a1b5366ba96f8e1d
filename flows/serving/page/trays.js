// The pictures that a person kept, and the history of this session. Both live in this tab only.

import { source } from "./api.js";
import { h } from "./dom.js";
import { describe } from "./picture_grid.js";
import { toHash } from "./state.js";

const LONGEST = 40; // entries of the history

export class Kept {
  constructor(list, app) {
    this.list = list;
    this.app = app;
    this.entries = [];
    this.#draw();
  }

  /** Keep a picture once; a second time lets it go. Returns whether it is kept now. */
  toggle(selected) {
    const at = this.entries.findIndex(({ picture }) => picture.b64 === selected.picture.b64);
    if (at >= 0) this.entries.splice(at, 1);
    else this.entries.push(selected);
    this.#draw();
    return at < 0;
  }

  #draw() {
    const entry = (selected) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: "cell",
            "aria-label": `Kept: ${describe(selected.picture)}`,
            title: describe(selected.picture),
            onclick: () => this.app.select(selected),
          },
          h("img", { src: source(selected.picture.b64, selected.picture.mime), alt: "" }),
        ),
      );
    this.list.replaceChildren(
      ...(this.entries.length
        ? this.entries.map(entry)
        : [h("li", { class: "note" }, "Select a picture, then keep it (K).")]),
    );
  }
}

export class History {
  constructor(list, app) {
    this.list = list;
    this.app = app;
    this.entries = [];
    this.list.replaceChildren(h("li", { class: "note" }, "What you draw appears here."));
  }

  /** Add what was just drawn, unless it is what the newest entry shows. */
  add(state, picture) {
    const hash = toHash(state);
    if (this.entries[0]?.hash === hash) return;
    this.entries = [{ hash, state, picture }, ...this.entries.filter((entry) => entry.hash !== hash)].slice(0, LONGEST);
    this.list.replaceChildren(...this.entries.map((entry) => this.#entry(entry)));
  }

  #entry({ state, picture }) {
    const name = summary(state);
    return h(
      "li",
      {},
      h(
        "button",
        {
          type: "button",
          class: "cell",
          "aria-label": `Back to: ${name}`,
          title: name,
          onclick: () => this.app.store.set(state),
        },
        h("img", { src: source(picture.b64, picture.mime), alt: "" }),
      ),
    );
  }
}

/** Return a state in a few words. */
function summary(state) {
  const kind = state.mix
    ? `mix of ${Object.keys(state.mix).join(", ")}`
    : state.class === null
      ? "each class"
      : `class ${state.class}`;
  const options = Object.entries(state.sampling).map(([name, value]) => `${name} ${value}`);
  return [
    state.view,
    state.model,
    kind,
    `seed ${state.seed}`,
    `${state.count} pictures`,
    ...options,
    state.origin && "branch",
  ]
    .filter(Boolean)
    .join(", ");
}
