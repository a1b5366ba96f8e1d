// Controls of a model's sampling options, made from its own description; with what they cost, as measured.

import { duration, h } from "./dom.js";

const FIRST = ["steps", "guidance_scale", "truncation", "temperature", "sampler"]; // what people change; others fold away
const GUIDING = /^guidance_/; // towards a class, so without effect where there are none
const MOST = 3; // without an upper limit, a slider ends at this multiple of the model's own value

/** Return the options' fieldset and what updates it; null for a model without options. */
export function optionControls(app, model) {
  const names = Object.keys(model.sampling).filter((name) => model.classes.length || !GUIDING.test(name));
  if (!names.length) return null;
  const change = (name, value, dragging = false) => {
    const { [name]: _, ...others } = app.store.state.sampling;
    const usual = JSON.stringify(value) === JSON.stringify(model.sampling[name].value);
    app.store.set({ sampling: usual ? others : { ...others, [name]: value } }, { dragging });
  };
  const controls = names
    .map((name) => [name, optionControl(name, model.sampling[name], change)])
    .filter(([, control]) => control);
  const first = controls
    .filter(([name]) => FIRST.includes(name))
    .sort(([a], [b]) => FIRST.indexOf(a) - FIRST.indexOf(b));
  const others = controls.filter(([name]) => !FIRST.includes(name));
  const cost = h("p", { class: "cost", id: "cost", title: "Measured by the server, without the way here" });
  const reset = h(
    "button",
    { type: "button", class: "link", onclick: () => app.store.set({ sampling: {} }) },
    "Back to the model's own",
  );
  const element = h(
    "fieldset",
    { class: "sampling" },
    h("legend", {}, "Sampling"),
    first.map(([, { element: part }]) => part),
    others.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, "More options"),
        others.map(([, { element: part }]) => part),
      ),
    cost,
    reset,
  );
  const refresh = (state) => {
    for (const [name, control] of controls)
      control.refresh(state.sampling[name] === undefined ? model.sampling[name].value : state.sampling[name]);
    reset.hidden = !names.some((name) => name in state.sampling);
    cost.textContent = costOf(app.costs, model, state);
  };
  return { element, refresh };
}

/** Return what the pictures cost: as many as are shown, if that was measured, because few cost more each than many. */
function costOf(costs, model, { sampling, count }) {
  const all = costs.measuredOf(model, sampling, count);
  const each = costs.of(model, sampling);
  if (all !== null && count > 1) return `${duration(all)} for ${count} pictures, ${duration(all / count)} each`;
  if (all !== null) return `${duration(all)} for 1 picture`;
  return each === null ? "not measured yet" : `${duration(each)} per picture`;
}

/** Return one option's control; null for a kind that this page does not know. */
function optionControl(name, option, change) {
  if (option.kind === "choice") return choice(name, option, change);
  if (option.kind === "integer" || option.kind === "number") return slider(name, option, change);
  return option.kind === "numbers" ? list(name, option, change) : null;
}

function choice(name, option, change) {
  const select = h(
    "select",
    { id: `option-${name}`, onchange: () => change(name, option.choices[select.selectedIndex]) },
    option.choices.map((value) => h("option", {}, String(value))),
  );
  return {
    element: labelled(name, option, select),
    refresh: (value) => (select.selectedIndex = option.choices.indexOf(value)),
  };
}

function slider(name, option, change) {
  const limits = range(option);
  const input = h("input", {
    type: "range",
    id: `option-${name}`,
    ...limits,
    oninput: () => change(name, Number(input.value), true),
    onchange: () => change(name, Number(input.value)),
  });
  const value = h("output", { for: input.id, "aria-live": "off" });
  const element = h(
    "div",
    { class: "slider", title: option.help || null },
    h("label", { class: "name", for: input.id }, words(name)),
    input,
    value,
  );
  const refresh = (number) => {
    input.value = number ?? limits.min;
    value.value = number === null ? "off" : String(number);
    input.setAttribute("aria-valuetext", value.value);
  };
  return { element, refresh };
}

/** Several numbers as a text, separated by spaces; empty: none. */
function list(name, option, change) {
  const take = () => {
    const texts = field.value.split(/[\s,;]+/).filter(Boolean);
    const numbers = texts.map(Number);
    const right = numbers.every(Number.isFinite) && (texts.length > 0 || option.optional);
    field.setAttribute("aria-invalid", String(!right));
    if (right) change(name, numbers.length ? numbers : null);
  };
  const field = h("input", {
    id: `option-${name}`,
    placeholder: option.optional ? "none" : "",
    onchange: take,
    autocomplete: "off",
  });
  const refresh = (value) => {
    if (document.activeElement !== field) field.value = (value ?? []).join(" "); // pictures may come while one types
  };
  return { element: labelled(name, option, field), refresh };
}

const labelled = (name, option, control) =>
  h(
    "div",
    { class: "option", title: option.help || null },
    h("label", { class: "name", for: control.id }, words(name)),
    control,
  );

const words = (name) => name.replaceAll("_", " ");

/** Return {min, max, step} of a slider from what the option allows. */
function range({ kind, value, low, high, above }) {
  const whole = kind === "integer";
  const usual = Math.abs(value ?? 1) || 1;
  const max = Math.min(high ?? Infinity, whole ? Math.max(MOST * usual, 12) : Math.max(MOST * usual, 1));
  const step = whole ? 1 : 10 ** Math.floor(Math.log10(Math.max(max - (low ?? above ?? 0), 1e-6)) - 1.5);
  const min = low ?? (above === undefined ? 0 : above + step);
  const places = Math.max(0, -Math.floor(Math.log10(step)));
  return { min: Number(min.toFixed(places)), max, step: Number(step.toFixed(places)) };
}
