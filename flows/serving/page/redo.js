// Draw on a picture, or mask a part of it, and let the model draw the rest of the way.

import { ask, source } from "./api.js";
import { duration, h } from "./dom.js";
import { PaintCanvas } from "./canvas.js";
import { Latest } from "./live.js";
import { PictureGrid } from "./picture_grid.js";
import { commonBody } from "./request.js";

const COUNT = 9; // answers
const TOOLS = { paint: "Paint", mask: "Mask", unmask: "Unmask" };

export class RedoView {
  id = "redo";
  label = "Draw on it";
  needs = "start";

  constructor(app) {
    this.app = app;
    this.canvas = new PaintCanvas(() => this.latest.request());
    this.latest = new Latest(
      (signal) => this.#load(signal),
      (error) => app.fail(error, this.grid),
    );
    this.grid = new PictureGrid("What the model made of it", (index) => this.#pick(index), 3);
    this.tools = Object.entries(TOOLS).map(([tool, text]) =>
      h("button", { type: "button", class: "chip", dataset: { tool }, onclick: () => this.#use(tool) }, text),
    );
    this.colour = h("input", {
      type: "color",
      id: "colour",
      value: "#ffffff",
      oninput: () => (this.canvas.colour = this.colour.value),
    });
    this.grey = h("input", {
      type: "range",
      id: "grey",
      min: 0,
      max: 255,
      value: 255,
      oninput: () => (this.canvas.colour = grey(this.grey.value)),
    });
    this.size = h("input", {
      type: "range",
      id: "brush",
      min: 1,
      max: 12,
      value: 2,
      oninput: () => (this.canvas.size = Number(this.size.value)),
    });
    this.strength = h("input", {
      type: "range",
      id: "strength",
      min: 0,
      max: 1,
      step: 0.01,
      value: 0.6,
      oninput: () => this.#strong(true),
      onchange: () => this.#strong(false),
    });
    this.strong = h("output", { for: "strength", "aria-live": "off" }, "60 %");
    this.cost = h("p", { class: "cost" });
    const line = (id, text, ...parts) =>
      h("div", { class: "slider" }, h("label", { class: "name", for: id }, text), ...parts);
    this.colourLine = line("colour", "Colour", this.colour);
    this.greyLine = line("grey", "Grey", this.grey);
    this.element = h(
      "div",
      { class: "redo" },
      h(
        "section",
        { class: "editor", "aria-label": "Picture to draw on" },
        this.canvas.element,
        h("div", { class: "chips", role: "group", "aria-label": "Tool" }, this.tools),
        this.colourLine,
        this.greyLine,
        line("brush", "Brush", this.size),
        line("strength", "Strength", this.strength, this.strong),
        h(
          "p",
          { class: "note" },
          "Strength: 0 % keeps the picture, 100 % draws another. With a mask, only the masked part is drawn anew.",
        ),
        h(
          "div",
          { class: "row" },
          h("button", { type: "button", id: "undo", onclick: () => this.canvas.undo() }, "Undo"),
          h("button", { type: "button", id: "clear", onclick: () => this.canvas.clear() }, "Start over"),
          h("button", { type: "button", class: "main", id: "again", onclick: () => this.#again() }, "Other answers"),
        ),
      ),
      h("section", { class: "answers", "aria-label": "Answers" }, this.grid.element, this.cost),
    );
    this.#use("paint");
    this.first = 0;
  }

  get pictures() {
    return this.grid.pictures;
  }

  /** Begin with a picture: {b64, mime}. */
  begin(picture) {
    this.class = picture.class ?? null;
    this.own = picture.seed ?? null;
    this.address = source(picture.b64, picture.mime);
  }

  async show(state, dragging = false) {
    const { model } = this.app;
    const grey = model.channels === 1;
    this.greyLine.hidden = !grey;
    this.colourLine.hidden = grey;
    for (const button of this.tools) button.hidden = button.dataset.tool !== "paint" && !model.can.has("mask");
    this.grid.shape(COUNT, model.image_size);
    this.grid.busy();
    this.address ??= await this.#blank(state);
    if (this.address && this.address !== this.loaded) {
      this.loaded = this.address;
      await this.canvas.load(this.address, model.image_size);
    }
    this.latest.request(dragging);
  }

  hide() {
    this.latest.stop();
  }

  /** Without a chosen picture, begin with the first one of the grid. */
  async #blank(state) {
    try {
      const drawn = await ask("/v1/draw", { ...commonBody(state, this.app.model), count: 1, seed: state.seed });
      this.class = drawn.images[0].class;
      this.own = state.seed;
      return source(drawn.images[0].b64, drawn.images[0].mime);
    } catch (error) {
      this.app.fail(error, this.grid);
      return null;
    }
  }

  async #load(signal) {
    if (!this.loaded) return;
    const { app } = this;
    const { state } = app.store;
    const mask = this.canvas.masked;
    const seed = this.#seedOf(state);
    // One picture has one class, even where the grid shows each in turn.
    const common = commonBody(state.mix ? state : { ...state, class: state.class ?? this.class }, app.model);
    this.body = {
      ...common,
      count: COUNT,
      seed,
      start: this.canvas.start,
      strength: Number(this.strength.value),
      ...(mask ? { mask } : {}),
    };
    this.grid.busy();
    const drawn = await ask("/v1/draw", this.body, signal);
    this.grid.show(drawn.images);
    this.app.answered(drawn.images);
    this.cost.textContent = `${drawn.images.length} pictures in ${duration(drawn.ms)}`;
  }

  /** Return the first seed of the answers. The picture's own seed would draw the picture once more. */
  #seedOf(state) {
    const seed = (state.seed + this.first) % (2 ** 32 - 2 * COUNT);
    return this.own !== null && seed <= this.own && this.own < seed + COUNT ? this.own + 1 : seed;
  }

  #use(tool) {
    this.canvas.tool = tool;
    for (const button of this.tools) button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  }

  #strong(dragging) {
    this.strong.value = `${Math.round(100 * this.strength.value)} %`;
    this.latest.request(dragging);
  }

  #again() {
    this.first += 2 * COUNT; // beyond all seeds of these answers
    this.latest.request();
  }

  #pick(index) {
    this.grid.mark(index);
    const picture = this.grid.pictures[index];
    this.app.select({
      picture,
      model: this.app.model,
      body: { ...this.body, count: 1, seed: picture.seed },
      state: null,
    });
  }
}

function grey(value) {
  const two = Number(value).toString(16).padStart(2, "0");
  return `#${two}${two}${two}`;
}
