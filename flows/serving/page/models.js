// The models that the server holds, and what each can do.

import { ask } from "./api.js";

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

/** Return {id: sha256} of the models. */
export function hashes(models) {
  return Object.fromEntries([...models.values()].map(({ id, sha256 }) => [id, sha256]));
}

/** Return the state with models that the server holds: a link may name a version, or one that is not here. */
export function possible(state, models) {
  const known = (wanted) => models.get(wanted) ?? [...models.values()].find(({ version }) => version === wanted);
  return { ...state, model: known(state.model)?.id ?? models.keys().next().value, other: known(state.other)?.id ?? "" };
}

/** Return how what this server draws differs from what a link wanted, as a text; null if it does not. */
export function difference({ model: wanted, made }, models) {
  const found = models.get(possible({ model: wanted }, models).model);
  if (wanted && found.id !== wanted && found.version !== wanted) {
    return `This server does not hold the model ${wanted}. Shown is ${title(found)}.`;
  }
  const now = found.sha256.slice(0, 12);
  if (!made || made === now) return null;
  return `The link was made with other weights (${made}) than ${title(found)} has now (${now}), so the pictures differ.`;
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
 * Measured costs in ms per picture, by model and sampling options. An option's cost is what was measured with its
 * value; nothing is guessed.
 */
export class Costs {
  constructor() {
    this.measured = new Map();
  }

  note(model, sampling, milliseconds, pictures) {
    this.measured.set(this.#key(model, sampling), milliseconds / pictures);
  }

  /** Return ms per picture with these options, or null if that was not measured yet. */
  of(model, sampling) {
    const usual = Object.keys(sampling ?? {}).length ? null : model.ms_per_image;
    return this.measured.get(this.#key(model, sampling)) ?? usual ?? null;
  }

  #key(model, sampling) {
    const values = Object.entries(model.sampling).map(([name, option]) => [name, sampling?.[name] ?? option.value]);
    return JSON.stringify([model.sha256, values]);
  }
}
