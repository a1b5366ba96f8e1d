// What the page shows, as one plain object; and the link that says the same.

export const LARGEST_SEED = 2 ** 32 - 1;
export const COUNTS = [1, 4, 9, 16, 25, 36, 64];
const VIEWS = ["grid", "walk", "directions", "redo", "upload"];
const LONGEST_LATENT = 1500; // characters in a link; longer ones are not understood by everything that passes links on

/**
 * class: a name, or null for each in turn. mix: {class: weight} or null. sampling: what differs from the model's own.
 * directions: {name: amount}. origin: the point {seed} or {latent} that pictures branch from, or null; reach: how far
 * they go from it. points: of the walk. made: the first digits of the model's hash, and behind "-" those of the other
 * one's; version: what the model was then. Both are a link's only.
 */
export const INITIAL = Object.freeze({
  view: "grid",
  model: "",
  other: "",
  class: null,
  mix: null,
  seed: 0,
  count: 16,
  sampling: {},
  directions: {},
  origin: null,
  reach: 0.3,
  points: [],
  made: null,
  version: null,
});

export class Store {
  constructor(state) {
    this.state = state;
    this.listeners = [];
  }

  /** Change the state and tell everybody. dragging: more changes follow at once. */
  set(change, { dragging = false } = {}) {
    const before = this.state;
    this.state = { ...before, made: null, version: null, ...change };
    for (const listener of this.listeners) listener(this.state, before, dragging);
  }

  subscribe(listener) {
    this.listeners.push(listener);
  }
}

/** Return the state as the part of a link after "#". models: by id; the link is checked with their hashes. */
export function toHash(state, models = new Map()) {
  const made = [state.model, state.other].map((id) => models.get(id)?.sha256.slice(0, 12));
  const parts = new URLSearchParams();
  const put = (name, value, usual) => value !== null && value !== usual && parts.set(name, value);
  put("view", state.view, "grid");
  put("model", state.model);
  put("made", made.filter(Boolean).join("-"), "");
  put("version", models.get(state.model)?.version ?? null);
  put("other", state.other, "");
  put("class", state.class);
  if (state.mix) put("mix", JSON.stringify(state.mix));
  put("seed", state.seed);
  put("count", state.count);
  if (Object.keys(state.sampling).length) put("sampling", JSON.stringify(state.sampling));
  if (Object.keys(state.directions).length) put("directions", JSON.stringify(state.directions));
  if (state.origin) {
    put("from", JSON.stringify(state.origin));
    put("reach", state.reach);
  }
  if (state.view === "walk" && state.points.length) put("points", JSON.stringify(state.points));
  return parts.toString();
}

/** Return whether a link can hold this state: a large latent is too long for one. */
export function fitsLink(state) {
  const points = [state.origin, ...(state.view === "walk" ? state.points : [])];
  return points.every((point) => !point?.latent || point.latent.length <= LONGEST_LATENT);
}

/** Return the state that a link describes. What it does not understand is left as usual. */
export function fromHash(hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { ...INITIAL };
  for (const name of ["model", "other", "class", "made", "version"]) if (parts.has(name)) state[name] = parts.get(name);
  if (VIEWS.includes(parts.get("view"))) state.view = parts.get("view");
  for (const name of ["mix", "sampling", "directions"]) state[name] = object(parts.get(name)) ?? state[name];
  state.seed = whole(parts.get("seed"), 0, LARGEST_SEED) ?? state.seed;
  state.count = whole(parts.get("count"), 1, 64) ?? state.count;
  state.origin = pointOf(object(parts.get("from")));
  const reach = Number(parts.get("reach"));
  if (parts.has("reach") && reach >= 0 && reach <= 1) state.reach = reach;
  const points = parsed(parts.get("points"));
  if (Array.isArray(points)) state.points = points.map(pointOf).filter(Boolean).slice(0, 4);
  return state;
}

/** Return a seed as the server takes it, or null if the text is none. */
export function whole(text, low, high) {
  const number = /^\d+$/.test(text ?? "") ? Number(text) : NaN;
  return number >= low && number <= high ? number : null;
}

/** Return the point {seed} or {latent}, with its class if it has one, or null if `value` is none. */
function pointOf(value) {
  const kind = typeof value?.class === "string" ? { class: value.class } : {};
  if (typeof value?.latent === "string") return { latent: value.latent, ...kind };
  const seed = whole(String(value?.seed), 0, LARGEST_SEED);
  return seed === null ? null : { seed, ...kind };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function object(text) {
  const value = parsed(text);
  return value && typeof value === "object" && !Array.isArray(value) ? value : null;
}
