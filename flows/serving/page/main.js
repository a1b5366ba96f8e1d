// The page: its state, its parts, and how they hear of each other.

import { ask, hooks } from "./api.js";
import { buildControls } from "./controls.js";
import { detailOf, pointOf } from "./detail.js";
import { shortcutsDialog, tokenDialog } from "./dialogs.js";
import { DirectionsView } from "./directions.js";
import { byId, h, settled } from "./dom.js";
import { GridView } from "./grid.js";
import { Costs, difference, forModel, loadModels, possible, title } from "./models.js";
import { RedoView } from "./redo.js";
import { gridBody } from "./request.js";
import { copyAs, copyLink } from "./sharing.js";
import { listenToKeys } from "./shortcuts.js";
import { Store, fitsLink, fromHash, toHash } from "./state.js";
import { showTabs } from "./tabs.js";
import { themeButton } from "./theme.js";
import { History, Kept } from "./trays.js";
import { UploadView } from "./upload.js";
import { Versions } from "./versions.js";
import { WalkView } from "./walk.js";

const CALM = 700; // ms without a change: then the link and the history say what is shown
const SAID = 6000; // ms that a message stays

class App {
  constructor() {
    this.store = new Store(fromHash(location.hash));
    this.costs = new Costs();
    this.found = new Map(); // directions by weights
    this.selected = null;
    this.kept = new Kept(byId("kept"), this);
    this.history = new History(byId("history"), this);
    this.views = [GridView, WalkView, DirectionsView, RedoView, UploadView].map((View) => new View(this));
    this.remember = settled(() => this.#remember(), CALM);
    this.versions = new Versions((models) => this.#takeOver(models));
    hooks.unauthorized = tokenDialog;
    hooks.waiting = (seconds) => this.say(`The server is busy. Trying again in ${seconds} s.`);
  }

  get model() {
    return this.models.get(this.store.state.model);
  }

  async start() {
    themeButton(byId("theme"));
    byId("help").addEventListener("click", shortcutsDialog);
    byId("copy-link").addEventListener("click", () => copyLink(this, this.store.state));
    byId("copy-as").addEventListener("click", () => copyAs(this, gridBody(this.store.state, this.model), this.model));
    byId("model").addEventListener("change", ({ target }) =>
      this.store.set(forModel(this.store.state, this.models.get(target.value))),
    );
    byId("other").addEventListener("change", ({ target }) => this.store.set({ other: target.value, view: "grid" }));
    if (matchMedia("(max-width: 48rem)").matches) byId("settings").open = false;
    try {
      this.models = await loadModels();
    } catch (error) {
      this.fail(error);
      return;
    }
    const wanted = this.store.state;
    this.store.state = possible(wanted, this.models);
    this.#fillModels();
    this.store.subscribe((now, before, dragging) => {
      this.#changed(now, before, dragging);
      this.versions.changed(dragging);
    });
    window.addEventListener("hashchange", () => this.#fromLink());
    listenToKeys(this);
    this.versions.start();
    this.#rebuild();
    this.#changed(this.store.state, {}, false);
    this.#warn(wanted);
  }

  /** The views that this model can fill, in the tabs' order. */
  shownViews() {
    return this.views.filter((view) =>
      view.offered ? view.offered(this.model) : !view.needs || this.model.can.has(view.needs),
    );
  }

  /** Say what was done, for a few seconds. */
  say(text) {
    byId("status").textContent = text;
    clearTimeout(this.said);
    this.said = setTimeout(() => (byId("status").textContent = ""), SAID);
  }

  /** Say what went wrong; in this grid, if one waited for pictures. */
  fail(error, grid = null) {
    grid?.idle();
    byId("problem").textContent = error.message;
    byId("problem").hidden = false;
  }

  /** The server has answered: what was wrong is past. images: what it drew, which says with which weights. */
  answered(images = []) {
    byId("problem").hidden = !this.warned;
    if (byId("status").textContent.startsWith("The server is busy")) this.say("");
    this.versions.drawn(images, this.models);
  }

  /** A view has drawn what its state says. */
  drawn(place, drawn, state) {
    this.answered(drawn.images);
    if (place !== "other") this.last = { state, picture: drawn.images[0] };
    this.refreshControls(this.store.state);
    this.remember();
  }

  select(selected) {
    this.selected = selected;
    const panel = byId("detail");
    const within = panel.contains(document.activeElement);
    panel.hidden = !selected;
    panel.replaceChildren(...(selected ? detailOf(this, selected) : []));
    document.body.classList.toggle("with-detail", Boolean(selected));
    if (!selected)
      document
        .querySelectorAll('.cell[aria-pressed="true"]')
        .forEach((cell) => cell.setAttribute("aria-pressed", "false"));
    if (!selected && within) byId("view").focus();
  }

  selectedIndex(model, pictures) {
    if (this.selected?.model !== model) return -1;
    return pictures.findIndex(({ b64 }) => b64 === this.selected.picture.b64);
  }

  /** Return whether these weights are still served: a promotion may have replaced them. */
  serves(model) {
    return this.models.get(model.id)?.sha256 === model.sha256;
  }

  /** Return the selected picture's point, unless other weights would draw something else there. */
  selectedPoint() {
    const picture = this.selected && this.serves(this.selected.model) ? this.selected.picture : null;
    return typeof picture?.seed === "number" || picture?.latent ? pointOf(picture) : null;
  }

  keep(selected) {
    this.say(this.kept.toggle(selected) ? "Kept." : "No longer kept.");
  }

  branch({ picture, model }) {
    const from = pointOf(picture);
    const kind = picture.class ? { class: picture.class, mix: null } : {};
    this.#goTo({
      view: "grid",
      model: model.id,
      origin: from,
      reach: 0.3,
      count: Math.max(9, this.store.state.count),
      ...kind,
    });
    this.say("Each picture is the one you branched from, moved towards a seed of its own.");
  }

  addToWalk({ picture, model }) {
    const points = [...this.store.state.points, pointOf(picture)].slice(-4);
    this.#goTo({ view: "walk", model: model.id, points });
  }

  redo({ picture, model }) {
    const view = this.views.find(({ id }) => id === "redo");
    view.begin(picture);
    const { class: chosen, mix } = this.store.state;
    // "Each in turn" may stay: the view draws the picture's own class, and the grid is as before afterwards.
    const others = picture.class && (mix || (chosen !== null && chosen !== picture.class));
    this.#goTo({ view: "redo", model: model.id, ...(others ? { class: picture.class, mix: null } : {}) });
  }

  /** Show another view for the selected picture: where the panel lies over it, the panel closes. */
  #goTo(change) {
    if (getComputedStyle(byId("detail")).position === "fixed") this.select(null);
    this.store.set(change);
    byId("view").focus();
  }

  /** Return the model's directions; asked for once. */
  async directions(model) {
    if (!this.found.has(model.sha256)) {
      const asked = ask(`/v1/models/${encodeURIComponent(model.id)}/directions`).then(({ directions }) => directions);
      this.found.set(model.sha256, asked);
      asked.catch(() => this.found.delete(model.sha256));
    }
    return this.found.get(model.sha256);
  }

  anySeed() {
    return Math.floor(Math.random() * 1_000_000); // short enough to read out
  }

  shuffle = () => this.store.set({ seed: this.anySeed() });

  /** Say how a link differs from what this server draws, until something changes. */
  #warn(wanted) {
    const text = difference(wanted, this.models);
    if (!text) return;
    this.fail(new Error(text));
    this.warned = true;
  }

  #changed(state, before, dragging) {
    if (this.warned) byId("problem").hidden = true;
    this.warned = false;
    if (!this.models.has(state.model)) {
      this.store.state = possible(state, this.models);
      state = this.store.state;
    }
    if (state.model !== before.model) this.#rebuild();
    const views = this.shownViews();
    const view = views.find(({ id }) => id === state.view) ?? views[0];
    if (this.view !== view || state.model !== before.model) this.#turnTo(view, views);
    byId("other").value = state.other;
    byId("model").value = state.model;
    this.refreshControls(state);
    view.show(state, dragging);
    if (!dragging) this.remember();
  }

  #rebuild() {
    this.refreshControls = buildControls(byId("controls"), this);
    if (
      this.selected &&
      this.selected.model.id !== this.store.state.model &&
      this.selected.model.id !== this.store.state.other
    )
      this.select(null);
  }

  #turnTo(view, views) {
    if (this.view !== view) this.view?.hide();
    this.view = view;
    byId("view").replaceChildren(view.element);
    showTabs(views, view, ({ id }) => this.store.set({ view: id }));
  }

  #fillModels() {
    const options = () => [...this.models.values()].map((model) => h("option", { value: model.id }, title(model)));
    byId("model").replaceChildren(...options());
    byId("other").replaceChildren(h("option", { value: "" }, "Compare with…"), ...options());
    byId("compare-pick").hidden = this.models.size < 2;
    byId("model").value = this.store.state.model;
    byId("other").value = this.store.state.other;
  }

  #fromLink() {
    const wanted = location.hash.slice(1);
    if (wanted === toHash(this.store.state, this.models)) return;
    const state = fromHash(wanted);
    this.store.set(possible(state, this.models));
    this.#warn(state);
  }

  #remember() {
    const { state } = this.store;
    if (fitsLink(state)) history.replaceState(null, "", `#${toHash(state, this.models)}`);
    if (this.last?.state === state) this.history.add(state, this.last.picture);
  }

  /** Take over newly promoted versions: what is shown is drawn anew with them. */
  #takeOver(models) {
    const before = this.models;
    this.models = models;
    const changed = [...this.models.values()].filter(({ id, sha256 }) => before.get(id)?.sha256 !== sha256);
    if (!changed.length && this.models.size === before.size) return;
    this.#fillModels();
    const { state } = this.store;
    const used = changed.filter(({ id }) => [state.model, state.other].includes(id));
    for (const model of used) this.say(`${title(model)} is new here. The pictures are drawn with it now.`);
    // Directions and latents were those of the old weights.
    if (used.some(({ id }) => id === state.model)) this.store.state = { ...state, ...forModel(state, this.model) };
    this.#changed(this.store.state, {}, false);
    if (this.selected && !this.serves(this.selected.model)) this.#selectAgain();
  }

  /** Show the selected picture with what can still be done with it, and keep the focus. */
  #selectAgain() {
    const { id } = document.activeElement;
    this.select(this.selected);
    if (id) byId(id)?.focus();
  }
}

new App().start();
