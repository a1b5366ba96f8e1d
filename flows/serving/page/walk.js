// A walk between two or four pictures. All pictures of the way are drawn once; moving along it then costs nothing.

import { ask, source } from "./api.js";
import { duration, h } from "./dom.js";
import { Latest } from "./live.js";
import { PictureGrid } from "./picture_grid.js";
import { walkBody } from "./request.js";

const STEPS = 24; // pictures of a line
const SIDE = 7; // pictures of a side of the square
const FRAME = 90; // ms per picture while it plays

export class WalkView {
  id = "walk";
  label = "Walk";
  needs = "walk";

  constructor(app) {
    this.app = app;
    this.slots = h("ol", { class: "tray slots", "aria-label": "Points of the walk" });
    this.large = h("img", { class: "large", alt: "Picture at this place of the walk" });
    this.place = h("input", {
      type: "range",
      id: "place",
      min: 0,
      step: 1,
      value: 0,
      oninput: () => this.#stand(Number(this.place.value)),
    });
    this.play = h(
      "button",
      { type: "button", id: "play", "aria-pressed": "false", onclick: () => this.#toggle() },
      "Play",
    );
    this.bar = h(
      "div",
      { class: "slider" },
      h("label", { class: "name", for: "place" }, "Place"),
      this.place,
      this.play,
    );
    this.cost = h("p", { class: "cost" });
    this.grid = new PictureGrid("Pictures of the walk", (index) => this.#pick(index));
    this.grid.element.addEventListener("pointermove", (event) => this.#hover(event));
    this.latest = new Latest(
      (signal) => this.#load(signal),
      (error) => app.fail(error, this.grid),
    );
    const form = (points, text) =>
      h("button", { type: "button", class: "chip", dataset: { points }, onclick: () => this.#form(points) }, text);
    this.forms = [form(2, "Line between two"), form(4, "Square between four")];
    this.element = h(
      "div",
      { class: "walk" },
      h(
        "div",
        { class: "chips" },
        this.forms,
        h(
          "button",
          { type: "button", class: "quiet", id: "walk-shuffle", onclick: () => this.#shuffle() },
          "Other points",
        ),
      ),
      this.slots,
      h(
        "div",
        { class: "walk-body" },
        h("div", { class: "stand" }, h("div", { class: "frame" }, this.large), this.bar),
        this.grid.element,
      ),
      this.cost,
    );
  }

  show(state, dragging = false) {
    const model = this.app.model;
    this.points = pointsOf(state);
    this.square = this.points.length === 4;
    const [rows, columns] = this.square ? [SIDE, SIDE] : [1, STEPS];
    this.body = walkBody(state, model, this.points, rows, columns);
    for (const button of this.forms)
      button.setAttribute("aria-pressed", String(Number(button.dataset.points) === this.points.length));
    this.bar.classList.toggle("hidden", this.square);
    this.grid.shape(rows * columns, model.image_size, this.square ? SIDE : STEPS / 2);
    this.place.max = rows * columns - 1;
    this.latest.request(dragging);
  }

  hide() {
    this.latest.stop();
    this.#stop();
  }

  get pictures() {
    return this.grid.pictures;
  }

  async #load(signal) {
    this.grid.busy();
    const drawn = await ask("/v1/draw", this.body, signal);
    this.grid.show(drawn.images, (_, index) => `Picture ${index + 1} of ${drawn.images.length} of the walk`);
    this.#showSlots(drawn.images);
    this.#stand(Math.min(Number(this.place.value), drawn.images.length - 1));
    const kind = this.body.class ? ` of class ${this.body.class}` : "";
    this.cost.textContent = `${drawn.images.length} pictures${kind} in ${duration(drawn.ms)}`;
    this.app.costs.note(this.app.model, this.app.store.state.sampling, drawn.ms, drawn.images.length);
    this.app.drawn("walk", drawn, this.app.store.state);
  }

  /** The points are pictures of the walk themselves: its ends or corners. */
  #showSlots(images) {
    const corners = this.square ? [0, SIDE - 1, SIDE * (SIDE - 1), SIDE * SIDE - 1] : [0, STEPS - 1];
    this.slots.replaceChildren(
      ...this.points.map((at, index) =>
        h(
          "li",
          {},
          h("img", { src: source(images[corners[index]].b64), alt: "" }),
          h("span", {}, at.latent ? "kept" : `seed ${at.seed}`),
          h(
            "button",
            {
              type: "button",
              class: "quiet icon small",
              "aria-label": `Another picture as point ${index + 1}`,
              title: "Another one",
              onclick: () => this.#replace(index),
            },
            "↻",
          ),
        ),
      ),
    );
  }

  #stand(index) {
    const picture = this.grid.pictures[index];
    if (!picture) return;
    this.place.value = index;
    this.place.setAttribute("aria-valuetext", `${index + 1} of ${this.grid.pictures.length}`);
    this.large.src = source(picture.b64, picture.mime);
    this.grid.mark(index);
  }

  /** Moving over the pictures shows the one below the pointer or the finger. */
  #hover(event) {
    const cell = document.elementFromPoint(event.clientX, event.clientY)?.closest(".cell");
    const index = this.grid.cells.indexOf(cell);
    if (index >= 0) this.#stand(index);
  }

  #pick(index) {
    this.#stand(index);
    const picture = this.grid.pictures[index];
    const { state } = this.app.store;
    const { walk, ...rest } = this.body;
    const alone = picture.latent ? { ...rest, count: 1, latent: picture.latent } : { ...rest, walk };
    const origin = picture.latent ? { latent: picture.latent } : null;
    this.app.select({
      picture,
      model: this.app.model,
      body: alone,
      state: { ...state, view: "grid", other: "", origin, reach: 0, count: 1 },
    });
  }

  #form(number) {
    this.app.store.set({ points: pointsOf(this.app.store.state, number) });
  }

  #shuffle() {
    this.app.store.set({ points: this.points.map(() => ({ seed: this.app.anySeed() })) });
  }

  #replace(index) {
    this.app.store.set({
      points: this.points.map((at, other) => (other === index ? { seed: this.app.anySeed() } : at)),
    });
  }

  #toggle() {
    if (this.timer) this.#stop();
    else {
      this.timer = setInterval(() => this.#next(), FRAME);
      this.play.textContent = "Stop";
    }
    this.play.setAttribute("aria-pressed", String(Boolean(this.timer)));
  }

  #next() {
    const last = this.grid.pictures.length - 1;
    const at = Number(this.place.value);
    if (at >= last) this.turn = -1;
    if (at <= 0) this.turn = 1;
    this.#stand(at + (this.turn ?? 1));
  }

  #stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "Play";
    this.play.setAttribute("aria-pressed", "false");
  }
}

/** Return 2 or 4 points: the chosen ones first, then those of the seeds after the state's own. */
export function pointsOf(state, number = null) {
  const wanted = number ?? (state.points.length > 2 ? 4 : 2);
  const chosen = state.points.slice(0, wanted);
  return [
    ...chosen,
    ...Array.from({ length: wanted - chosen.length }, (_, index) => ({
      seed: (state.seed + chosen.length + index) % 2 ** 32,
    })),
  ];
}
