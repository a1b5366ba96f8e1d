// The models that the server holds, and what each can do.

import { ask } from "./api.js";

/** Return the models by id, in the server's order: {id, family, classes, sampling, can (a Set), sha256, cost, ...}. */
export async function loadModels(signal) {
  const { data } = await ask("/v1/models", null, signal);
  return new Map(data.map(({ id, genai }) => [id, { ...genai, id, classes: genai.classes ?? [], can: new Set(genai.can) }]));
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
