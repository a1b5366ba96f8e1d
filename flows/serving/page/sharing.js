// What is shown, for elsewhere: as a link, a command line, curl or Python.

import { copyDialog } from "./dialogs.js";
import { fitsLink, toHash } from "./state.js";

/** Copy a link to a state. model: the one that drew it, if the server may hold a newer one by now. */
export function copyLink(app, state, model = null) {
  const models = model ? new Map(app.models).set(model.id, model) : app.models;
  if (!state) app.say("A link cannot hold a picture that you drew on. Copy it as curl or Python.");
  else if (!fitsLink(state)) app.say("A link cannot hold this latent: it is too long. Copy it as curl or Python.");
  else copyText(app, `${location.origin}${location.pathname}#${toHash(state, models)}`, "Link");
}

/** Offer a body of POST /v1/draw in the forms that a person can run. */
export function copyAs(app, body, model) {
  // The version, because the name may mean a newer one tomorrow.
  copyDialog({ ...body, model: model.version ?? model.id }, model, (text, name) => copyText(app, text, name));
}

async function copyText(app, text, name) {
  try {
    await navigator.clipboard.writeText(text);
    app.say(`${name} copied.`);
  } catch {
    window.prompt(`${name}: copy this`, text);
  }
}
