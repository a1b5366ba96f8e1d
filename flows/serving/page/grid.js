// The grid that redraws while one drags; with a second model beside it, from the same seeds.

import { ask, drawStreamed } from "./api.js";
import { duration, h } from "./dom.js";
import { Latest } from "./live.js";
import { title } from "./models.js";
import { PictureGrid } from "./picture_grid.js";
import { gridBody } from "./request.js";

const SLOW = 300; // ms; drawings that take longer show previews

export class GridView {
  id = "grid";
  label = "Pictures";

  constructor(app) {
    this.app = app;
    this.sides = [this.#side("model"), this.#side("other")];
    this.branch = h("div", { class: "branch", hidden: true });
    this.reach = h("input", {
      type: "range",
      id: "reach",
      min: 0,
      max: 1,
      step: 0.01,
      oninput: () => this.#far(true),
      onchange: () => this.#far(false),
    });
    this.reached = h("output", { for: "reach", "aria-live": "off" });
    this.branch.append(
      h("label", { for: "reach" }, "Distance from the picture you branched from"),
      this.reach,
      this.reached,
      h(
        "button",
        { type: "button", class: "quiet", id: "leave-branch", onclick: () => app.store.set({ origin: null }) },
        "Leave the branch",
      ),
    );
    this.element = h(
      "div",
      { class: "grids" },
      this.branch,
      h(
        "div",
        { class: "sides" },
        this.sides.map((side) => side.element),
      ),
    );
  }

  show(state, dragging = false) {
    this.branch.hidden = !state.origin;
    this.reach.value = state.reach;
    this.reached.value = `${Math.round(100 * state.reach)} %`;
    for (const side of this.sides) this.#draw(side, state, dragging);
  }

  hide() {
    for (const side of this.sides) side.latest.stop();
  }

  /** Return the pictures of the first grid, for the history. */
  get pictures() {
    return this.sides[0].grid.pictures;
  }

  #far(dragging) {
    this.app.store.set({ reach: Number(this.reach.value) }, { dragging });
  }

  #side(key) {
    const side = { key };
    side.heading = h("h2", { class: "side-title" });
    side.cost = h("span", { class: "cost" });
    side.grid = new PictureGrid(key === "model" ? "Pictures" : "Pictures of the other model", (index) =>
      this.#pick(side, index),
    );
    side.element = h(
      "section",
      { class: "side" },
      h("div", { class: "side-head" }, side.heading, side.cost),
      side.grid.element,
    );
    side.latest = new Latest(
      (signal) => this.#load(side, signal),
      (error) => {
        side.fault = error;
        this.app.fail(error, side.grid);
      },
    );
    return side;
  }

  #draw(side, state, dragging) {
    const model = this.app.models.get(state[side.key]);
    side.element.hidden = !model;
    side.heading.textContent = model ? title(model) : "";
    side.heading.classList.toggle("hidden", !state.other);
    if (!model) {
      side.latest.stop();
      return;
    }
    side.model = model;
    side.fault = null;
    side.grid.shape(state.count, model.image_size);
    side.latest.request(dragging);
  }

  async #load(side, signal) {
    const { state } = this.app.store;
    const { model, grid } = side;
    grid.busy();
    const body = gridBody(state, model);
    const { costs } = this.app;
    const expected =
      costs.measuredOf(model, state.sampling, state.count) ?? (costs.of(model, state.sampling) ?? 0) * state.count;
    const began = performance.now();
    const drawn =
      expected > SLOW
        ? await drawStreamed(body, { preview: (index, address) => grid.preview(index, address) }, signal)
        : await ask("/v1/draw", body, signal);
    grid.show(drawn.images);
    costs.note(model, state.sampling, drawn.ms, drawn.images.length);
    side.cost.textContent = `${duration(drawn.ms)} on the server · ${duration(performance.now() - began)} in all`;
    side.fault = null;
    this.app.drawn(side.key, drawn, state);
    // What is wrong with one model stays, although the other one has drawn.
    const { fault } = this.sides.find((other) => other.fault && !other.element.hidden) ?? {};
    if (fault) this.app.fail(fault);
    grid.mark(this.app.selectedIndex(model, drawn.images));
  }

  #pick(side, index) {
    for (const other of this.sides) other.grid.mark(other === side ? index : -1);
    const { state } = this.app.store;
    this.app.select({
      picture: side.grid.pictures[index],
      model: side.model,
      body: gridBody(state, side.model, index),
      state: this.#alone(state, side, index),
    });
  }

  /** Return the state that shows only this picture. */
  #alone(state, side, index) {
    const picture = side.grid.pictures[index];
    const chosen = state.mix ? {} : { class: picture.class ?? null };
    return { ...state, ...chosen, view: "grid", model: side.model.id, other: "", seed: picture.seed, count: 1 };
  }
}
