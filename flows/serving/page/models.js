// The models that the server holds, and what each can do.

import { ask } from "./api.js";

// A link is what anybody wrote. Only what looks like a version is shown as a part of a command.
const VERSION = /^v\d+\.\d+\.\d+$/;

/** Return the models by id, in the server's order: {id, family, classes, sampling, can (a Set), sha256, cost, ...}. */
export async function loadModels(signal) {
  const { data } = await ask("/v1/models", null, signal);
  return new Map(
    data.map(({ id, genai }) => [id, { ...genai, id, classes: genai.classes ?? [], can: new Set(genai.can) }]),
  );
}

/** Return a model's name for people: its id, and the version where that says more. */
export function title(model) {
  return model.version && model.version !== model.id ? `${model.id} (${model.version})` : model.id;
}

/** Return "diffusion · 16×16 grey · 10 classes". */
export function facts(model) {
  const [height, width] = model.image_size;
  const classes = model.classes.length ? `${model.classes.length} classes` : "no classes";
  return [model.family, `${width}×${height} ${model.channels === 1 ? "grey" : "colour"}`, classes].join(" · ");
}

/** Return the state with models that the server holds: a link may name a version, or one that is not here. */
export function possible(state, models) {
  const [made, otherMade] = (state.made ?? "").split("-");
  const first = held(state.model, made, models) ?? models.values().next().value;
  return { ...state, model: first.id, other: held(state.other, otherMade, models)?.id ?? "" };
}

/** Return the model that a link means: that of the name if it has the link's weights, else any that has them. */
function held(name, made, models) {
  const all = [...models.values()];
  const named = models.get(name) ?? all.find(({ version }) => name && version === name);
  if (!name || !made || hasMade(named, made)) return named;
  return all.find((model) => hasMade(model, made)) ?? named;
}

const hasMade = (model, made) => Boolean(model?.sha256.startsWith(made));

/** Return how what is shown differs from what a link says, or null if it does not. */
export function difference(wanted, models) {
  const shown = possible(wanted, models);
  const [made, otherMade] = (wanted.made ?? "").split("-");
  const name = wanted.version && wanted.version !== wanted.model ? `${wanted.model} (${wanted.version})` : wanted.model;
  return (
    differs(name, wanted.model, made, models.get(shown.model), wanted.version) ??
    differs(wanted.other, wanted.other, otherMade, models.get(shown.other), null)
  );
}

function differs(name, id, made, model, version) {
  if (!id || (made && hasMade(model, made))) return null;
  if (!model) return `This server does not hold the model ${name} that the link compares with.`;
  if (model.id !== id && model.version !== id)
    return `This server does not hold the model ${name}. Shown is ${title(model)}.`;
  if (!made) return null;
  const how = VERSION.test(version ?? "") ? ` \`genai serve ${version}\` draws the link's.` : "";
  return (
    `The link was made with other weights (${made}, ${name}) than ${title(model)} has now ` +
    `(${model.sha256.slice(0, 12)}), so the pictures differ.${how}`
  );
}

/** Return the change to another model: it has directions and latents of its own, and perhaps other classes. */
export function forModel({ class: chosen, origin, points }, model) {
  return {
    model: model.id,
    class: model.classes.includes(chosen) ? chosen : null,
    directions: {},
    origin: origin?.latent ? null : origin,
    points: points.every(({ latent }) => !latent) ? points : [],
  };
}

/**
 * Measured costs in ms, by model, sampling options and number of pictures. An option's cost is what was measured with
 * its value; nothing is guessed.
 */
export class Costs {
  constructor() {
    this.measured = new Map(); // by model and options: {number of pictures: ms of all}
  }

  note(model, sampling, milliseconds, pictures) {
    const key = this.#key(model, sampling);
    this.measured.set(key, { ...this.measured.get(key), [pictures]: milliseconds });
  }

  /** Return ms of so many pictures with these options, or null if that was not measured yet. */
  measuredOf(model, sampling, pictures) {
    return this.measured.get(this.#key(model, sampling))?.[pictures] ?? null;
  }

  /** Return ms per picture with these options where many are drawn together, or null if nothing was measured yet. */
  of(model, sampling) {
    const found = Object.entries(this.measured.get(this.#key(model, sampling)) ?? {}).map(([count, ms]) => ms / count);
    if (found.length) return Math.min(...found);
    const isUsual = Object.keys(sampling ?? {}).every((name) => !(name in model.sampling));
    return (isUsual && model.ms_per_image) || null;
  }

  #key(model, sampling) {
    const values = Object.entries(model.sampling).map(([name, option]) => [name, sampling?.[name] ?? option.value]);
    return JSON.stringify([model.sha256, values]);
  }
}
