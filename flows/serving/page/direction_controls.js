// One slider for each direction in the model's noise: all pictures of the grid go that far along it.

import { h } from "./dom.js";

const SHOWN = 8; // more fold away

/** Return the directions' fieldset and what updates it; null for a model without directions. */
export function directionControls(app, model) {
  if (!model.can.has("directions")) return null;
  const body = h(
    "div",
    {},
    h("p", { class: "note" }, "Looking for directions. The first time, this takes some seconds…"),
  );
  const reset = h(
    "button",
    { type: "button", class: "link", hidden: true, onclick: () => app.store.set({ directions: {} }) },
    "All to 0",
  );
  const details = h("details", {}, h("summary", {}, "Directions"), body, reset);
  const rows = new Map();
  const refresh = (state) => {
    for (const [name, { slider, value }] of rows) {
      slider.value = state.directions[name] ?? 0;
      value.value = Number(slider.value).toFixed(1);
    }
    reset.hidden = !Object.keys(state.directions).length;
    if (!reset.hidden) details.open = true;
  };
  const open = async () => {
    if (!details.open || rows.size) return;
    try {
      const found = await app.directions(model);
      const parts = found.map((direction) => [direction.name, row(app, direction)]);
      for (const [name, part] of parts) rows.set(name, part);
      const elements = parts.map(([, { element }]) => element);
      const rest = elements.slice(SHOWN);
      body.replaceChildren(
        ...elements.slice(0, SHOWN),
        ...(rest.length ? [h("details", {}, h("summary", {}, `${rest.length} more`), rest)] : []),
      );
      if (!elements.length) body.replaceChildren(h("p", { class: "note" }, "None were found."));
      refresh(app.store.state);
    } catch (error) {
      body.replaceChildren(h("p", { class: "note" }, error.message));
    }
  };
  details.addEventListener("toggle", open);
  return {
    element: h("fieldset", { class: "directions" }, h("legend", { class: "hidden" }, "Directions"), details),
    refresh,
  };
}

function row(app, { name, what, low, high }) {
  const move = (dragging) => {
    const { [name]: _, ...others } = app.store.state.directions;
    const amount = Number(slider.value);
    app.store.set({ directions: amount === 0 ? others : { ...others, [name]: amount } }, { dragging });
  };
  const slider = h("input", {
    type: "range",
    id: `direction-${name}`,
    min: Math.min(0, low),
    max: high,
    step: high - low > 2 ? 0.1 : 0.01,
    oninput: () => move(true),
    onchange: () => move(false),
  });
  const value = h("output", { for: slider.id, "aria-live": "off" }, "0.0");
  return {
    element: h(
      "div",
      { class: "slider", title: what },
      h("label", { class: "name", for: slider.id }, what || name),
      slider,
      value,
    ),
    slider,
    value,
  };
}
