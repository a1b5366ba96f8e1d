// What each direction does, as a strip: the same picture, moved along it step by step.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { Latest, inTurn } from "./live.js";
import { PictureGrid } from "./picture_grid.js";
import { commonBody, point } from "./request.js";

const STEPS = 7; // pictures of a strip
const AT_ONCE = 4; // strips; the server draws them in few batches
const KINDS = { principal: "Principal components", class: "Class means", attribute: "Attributes" };

export class DirectionsView {
  id = "directions";
  label = "Directions";
  needs = "directions";

  constructor(app) {
    this.app = app;
    this.strips = h("div", { class: "strips" });
    this.base = h("p", { class: "note" });
    this.latest = new Latest(
      (signal) => this.#load(signal),
      (error) => this.#failed(error),
    );
    this.element = h("div", {}, this.base, this.strips);
    this.pictures = [];
  }

  show(state, dragging = false) {
    const name = state.mix ? null : (state.class ?? this.app.model.classes[0] ?? null);
    this.from = this.app.selectedPoint() ?? { seed: state.seed, ...(name === null ? {} : { class: name }) };
    const what = [
      this.from.class && `class ${this.from.class}`,
      this.from.latent ? "a kept picture" : `seed ${this.from.seed}`,
    ]
      .filter(Boolean)
      .join(", ");
    this.base.textContent = `Each row moves one picture (${what}) along one direction. Press a picture to set the direction for all.`;
    this.latest.request(dragging);
  }

  hide() {
    this.latest.stop();
  }

  #failed(error) {
    for (const { grid } of this.rows?.values() ?? []) grid.idle();
    this.app.fail(error);
  }

  async #load(signal) {
    const { app, from } = this;
    const model = app.model;
    if (this.shown !== model.sha256)
      this.strips.replaceChildren(
        h("p", { class: "note" }, "Looking for directions. The first time, this takes some seconds…"),
      );
    const directions = await app.directions(model);
    if (signal.aborted) return;
    if (this.shown !== model.sha256) this.#lay(model, directions);
    const { state } = app.store;
    const common = commonBody(from.class ? { ...state, mix: null, class: from.class } : state, model);
    const noise = from.latent ? { ...point(from), count: STEPS } : { seeds: Array(STEPS).fill(from.seed) };
    for (const [name, { element }] of this.rows) element.hidden = name === `towards ${from.class}`; // nothing changes
    const images = [];
    const jobs = directions
      .filter(({ name }) => !this.rows.get(name).element.hidden)
      .map((direction) => async () => {
        const amount = amounts(direction);
        const { grid } = this.rows.get(direction.name);
        grid.busy();
        const drawn = await ask(
          "/v1/draw",
          { ...common, ...noise, directions: [{ name: direction.name, amount }] },
          signal,
        );
        grid.show(drawn.images, (_, index) => `${direction.what}: ${amount[index]}`);
        images.push(...drawn.images);
      });
    await inTurn(jobs, AT_ONCE, signal);
    if (!signal.aborted) app.answered(images);
  }

  /** Lay out one empty strip for each direction, under a heading for each kind. */
  #lay(model, directions) {
    this.shown = model.sha256;
    this.rows = new Map();
    const kinds = [...new Set(directions.map(({ kind }) => kind))];
    const strip = (direction) => {
      const { name, what } = direction;
      const grid = new PictureGrid(what || name, (index) => this.#take(name, amounts(direction)[index]), STEPS);
      grid.shape(STEPS, model.image_size);
      const element = h("div", { class: "strip" }, h("h3", {}, what || name), grid.element);
      this.rows.set(name, { grid, element });
      return element;
    };
    this.strips.replaceChildren(
      ...kinds.flatMap((kind) => [
        h("h2", {}, KINDS[kind] ?? kind),
        ...directions.filter((one) => one.kind === kind).map(strip),
      ]),
    );
    if (!directions.length)
      this.strips.replaceChildren(h("p", { class: "note" }, "No directions were found in this model."));
  }

  #take(name, amount) {
    const { [name]: _, ...others } = this.app.store.state.directions;
    this.app.store.set({ view: "grid", directions: amount ? { ...others, [name]: amount } : others });
  }
}

/** Return the amounts of a strip, from the lowest to the highest sensible one. */
function amounts({ low, high }) {
  return Array.from({ length: STEPS }, (_, step) => Number((low + ((high - low) * step) / (STEPS - 1)).toFixed(2)));
}
