// The settings beside the pictures: class or mix, seed, number, sampling options, directions.

import { h } from "./dom.js";
import { COUNTS, LARGEST_SEED, whole } from "./state.js";
import { facts } from "./models.js";
import { optionControls } from "./sampling.js";
import { directionControls } from "./direction_controls.js";

const MOST_CHIPS = 24; // more classes are a list to search in

/** Fill `panel` for the model of the state. Made anew when the model changes; `refresh` follows other changes. */
export function buildControls(panel, app) {
  const model = app.model;
  const parts = [
    modelFacts(model),
    classes(app, model),
    seed(app),
    count(app),
    optionControls(app, model),
    directionControls(app, model),
  ].filter(Boolean);
  panel.replaceChildren(...parts.map((part) => part.element));
  const refresh = (state) => parts.forEach((part) => part.refresh?.(state));
  refresh(app.store.state);
  return refresh;
}

function modelFacts(model) {
  const digits = h("code", { title: `sha256 of the weights: ${model.sha256}` }, model.sha256.slice(0, 12));
  return { element: h("p", { class: "facts" }, facts(model), h("br"), "weights ", digits) };
}

/** One class, each in turn, or a mix by weights. */
function classes(app, model) {
  if (!model.classes.length) return null;
  const choose = (name) => app.store.set({ class: name, mix: null });
  const chips = model.classes.length <= MOST_CHIPS;
  const buttons = new Map(
    [[null, "each"], ...model.classes.map((name) => [name, name])].map(([name, text]) => [
      name,
      h("button", { type: "button", class: "chip", onclick: () => choose(name) }, text),
    ]),
  );
  const select = h(
    "select",
    { "aria-label": "Class", onchange: () => choose(select.value || null) },
    h("option", { value: "" }, "each in turn"),
    model.classes.map((name) => h("option", { value: name }, name)),
  );
  const mixing = model.can.has("mix");
  const toggle = h(
    "button",
    { type: "button", class: "link", "aria-pressed": "false", onclick: () => toggleMix(app, model) },
    "Mix classes",
  );
  const mix = h("div", { class: "mix", hidden: true });
  const sliders = mixRows(app, model, mix);
  const element = h(
    "fieldset",
    {},
    h("legend", {}, "Class"),
    chips ? h("div", { class: "chips" }, [...buttons.values()]) : select,
    mixing && toggle,
    mixing && mix,
  );
  const refresh = (state) => {
    for (const [name, button] of buttons)
      button.setAttribute("aria-pressed", String(!state.mix && state.class === name));
    select.value = state.class ?? "";
    toggle.setAttribute("aria-pressed", String(Boolean(state.mix)));
    mix.hidden = !state.mix;
    sliders(state);
  };
  return { element, refresh };
}

function toggleMix(app, model) {
  const { mix, class: chosen } = app.store.state;
  if (mix) {
    app.store.set({ mix: null });
    return;
  }
  const first = chosen ?? model.classes[0];
  const second = model.classes[(model.classes.indexOf(first) + 1) % model.classes.length];
  app.store.set({ mix: { [first]: 0.5, [second]: 0.5 } });
}

/** One slider per class of the mix, and a list to add one. Returns what updates them. */
function mixRows(app, model, panel) {
  const rows = new Map();
  const add = h("select", { "aria-label": "Add a class to the mix", onchange: () => weigh(add.value, 0.5, false) });
  const weigh = (name, weight, dragging) =>
    app.store.set({ mix: { ...app.store.state.mix, [name]: weight } }, { dragging });
  const drop = (name) => {
    const { [name]: _, ...mix } = app.store.state.mix;
    app.store.set({ mix: Object.keys(mix).length ? mix : null });
  };
  const row = (name) => {
    const share = h("output", { "aria-live": "off" });
    const slider = h("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.01,
      "aria-label": `Weight of ${name}`,
      oninput: () => weigh(name, Number(slider.value), true),
      onchange: () => weigh(name, Number(slider.value), false),
    });
    const remove = h(
      "button",
      {
        type: "button",
        class: "quiet icon small",
        "aria-label": `Remove ${name} from the mix`,
        onclick: () => drop(name),
      },
      "×",
    );
    return {
      element: h("div", { class: "slider" }, h("span", { class: "name" }, name), slider, share, remove),
      slider,
      share,
    };
  };
  return ({ mix }) => {
    if (!mix) return;
    const names = Object.keys(mix).filter((name) => model.classes.includes(name));
    for (const name of [...rows.keys()]) if (!names.includes(name)) rows.delete(name);
    for (const name of names) if (!rows.has(name)) rows.set(name, row(name));
    const sum = names.reduce((total, name) => total + mix[name], 0) || 1;
    for (const [name, { slider, share }] of rows) {
      slider.value = mix[name];
      share.value = `${Math.round((100 * mix[name]) / sum)} %`;
    }
    const elements = names.map((name) => rows.get(name).element);
    if (
      elements.some((element, index) => panel.children[index] !== element) ||
      panel.children.length !== elements.length + 1
    )
      panel.replaceChildren(...elements, add);
    const others = model.classes.filter((name) => !names.includes(name));
    add.hidden = !others.length;
    add.replaceChildren(
      h("option", { value: "" }, "Add a class…"),
      ...others.map((name) => h("option", { value: name }, name)),
    );
  };
}

function seed(app) {
  const take = (dragging) => {
    const value = whole(field.value.trim(), 0, LARGEST_SEED);
    field.setAttribute("aria-invalid", String(value === null));
    note.textContent = value === null ? `A seed is a whole number from 0 to ${LARGEST_SEED}.` : "";
    if (value !== null) app.store.set({ seed: value }, { dragging });
  };
  const step = (by) => app.store.set({ seed: (app.store.state.seed + by + 2 ** 32) % 2 ** 32 });
  const field = h("input", {
    id: "seed",
    inputmode: "numeric",
    autocomplete: "off",
    "aria-describedby": "seed-note",
    oninput: () => take(true),
    onchange: () => take(false),
  });
  const note = h("p", { class: "note", id: "seed-note", role: "status" });
  const element = h(
    "fieldset",
    {},
    h("legend", {}, h("label", { for: "seed" }, "Seed")),
    h(
      "div",
      { class: "row" },
      field,
      h(
        "button",
        {
          type: "button",
          class: "quiet icon",
          "aria-label": "Earlier seeds",
          onclick: () => step(-app.store.state.count),
        },
        "‹",
      ),
      h(
        "button",
        {
          type: "button",
          class: "quiet icon",
          "aria-label": "Later seeds",
          onclick: () => step(app.store.state.count),
        },
        "›",
      ),
      h(
        "button",
        { type: "button", class: "main", id: "shuffle", title: "Other seeds (R)", onclick: app.shuffle },
        "Shuffle",
      ),
    ),
    note,
  );
  const refresh = (state) => {
    if (document.activeElement !== field || whole(field.value, 0, LARGEST_SEED) !== null) field.value = state.seed;
  };
  return { element, refresh };
}

function count(app) {
  const buttons = COUNTS.map((number) => [
    number,
    h("button", { type: "button", class: "chip", onclick: () => app.store.set({ count: number }) }, String(number)),
  ]);
  const element = h(
    "fieldset",
    {},
    h("legend", {}, "Pictures"),
    h(
      "div",
      { class: "chips" },
      buttons.map(([, button]) => button),
    ),
  );
  return {
    element,
    refresh: (state) =>
      buttons.forEach(([number, button]) => button.setAttribute("aria-pressed", String(state.count === number))),
  };
}
