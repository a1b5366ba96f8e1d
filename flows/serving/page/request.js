// From the page's state to the bodies of requests. What a body says is what links and copied commands say too.

/** Return the body of POST /v1/draw for the grid. pick: only the picture at this index. */
export function gridBody(state, model, pick = null) {
  const seeds = pick === null ? seedsOf(state) : [seedsOf(state)[pick]];
  const body = { ...commonBody(state, model), ...seedsBody(seeds) };
  if (pick !== null && !body.mix && !body.class) {
    const name = classAt(state, model, pick);
    if (name !== null) body.class = name;
  }
  if (state.origin) Object.assign(body, { base: point(state.origin), reach: state.reach });
  // Another model has directions of its own, so those of the first one say nothing there.
  if (Object.keys(state.directions).length && model.id === state.model) {
    body.directions = Object.entries(state.directions).map(([name, amount]) => ({ name, amount }));
  }
  return body;
}

/** Return model, class or mix, and sampling options: what all requests share. */
export function commonBody(state, model) {
  const body = { model: model.id };
  const mix = state.mix && shares(state.mix, model);
  if (mix) body.mix = mix;
  else if (state.class !== null && model.classes.includes(state.class)) body.class = state.class;
  const sampling = Object.fromEntries(Object.entries(state.sampling).filter(([name]) => name in model.sampling));
  if (Object.keys(sampling).length) body.sampling = sampling;
  return body;
}

/** Return the seeds of the grid's pictures: consecutive, and after the largest the smallest. */
export function seedsOf(state) {
  return Array.from({ length: state.count }, (_, index) => (state.seed + index) % 2 ** 32);
}

/** Return the class of the grid's picture at `index`; null where classes are mixed or there are none. */
export function classAt(state, model, index) {
  if (state.mix || !model.classes.length) return null;
  if (state.class !== null && model.classes.includes(state.class)) return state.class;
  return model.classes[index % model.classes.length];
}

/** Return the body of a walk between points. All pictures have one class: of the state, else of the first point. */
export function walkBody(state, model, points, rows, columns) {
  const body = { ...commonBody(state, model), walk: { points: points.map(point), rows, columns } };
  const name = points[0].class ?? model.classes[0];
  return body.class || body.mix || name === undefined ? body : { ...body, class: name };
}

/** Return what the server calls a point: its seed or its latent. */
export const point = ({ seed, latent }) => (latent ? { latent } : { seed });

/** Return weights with sum 1 of the classes that the model has, or null if there are none. */
function shares(mix, model) {
  const weights = Object.entries(mix).filter(([name, weight]) => weight > 0 && model.classes.includes(name));
  const sum = weights.reduce((total, [, weight]) => total + weight, 0);
  return sum > 0 ? Object.fromEntries(weights.map(([name, weight]) => [name, weight / sum])) : null;
}

function seedsBody(seeds) {
  const consecutive = seeds.every((seed, index) => seed === seeds[0] + index);
  return consecutive ? { count: seeds.length, seed: seeds[0] } : { count: seeds.length, seeds };
}
