// The selected picture: large, with what made it and what can be done with it.

import { ask, source } from "./api.js";
import { h } from "./dom.js";
import { describe } from "./picture_grid.js";
import { neighbours } from "./nearest.js";
import { title } from "./models.js";
import { point } from "./request.js";
import { saveImage } from "./download.js";
import { copyAs, copyLink } from "./sharing.js";

/** Return the panel's contents for what is selected: {picture, model, body, state}. */
export function detailOf(app, selected) {
  const { picture, model } = selected;
  const image = h("img", {
    class: "large",
    alt: `Selected picture: ${describe(picture)}`,
    src: source(picture.b64, picture.mime),
  });
  const more = h("div", { class: "findings", "aria-live": "polite" });
  image.style.setProperty("aspect-ratio", `${model.image_size[1]} / ${model.image_size[0]}`);
  return [
    h(
      "div",
      { class: "detail-head" },
      h("h2", {}, describe(picture)),
      h(
        "button",
        {
          type: "button",
          class: "quiet icon",
          id: "close-detail",
          "aria-label": "Close",
          onclick: () => app.select(null),
        },
        "×",
      ),
    ),
    h("div", { class: "frame" }, image),
    h(
      "p",
      { class: "facts" },
      title(model),
      picture.similarity !== undefined && ` · similarity ${picture.similarity.toFixed(2)}`,
    ),
    !app.serves(model) &&
      h("p", { class: "note" }, `${model.id} has other weights now: they draw another picture from this seed.`),
    h(
      "div",
      { class: "actions" },
      actions(app, selected, { image, more }).map(({ id, text, key, act }) =>
        h("button", { type: "button", id, title: key ? `${text} (${key})` : text, onclick: act }, text),
      ),
    ),
    more,
    h(
      "details",
      {},
      h("summary", {}, "Provenance"),
      h("pre", { tabindex: 0 }, JSON.stringify(picture.provenance ?? {}, null, 2)),
    ),
  ].filter(Boolean);
}

/** Return the point in the model's noise that the picture was drawn from, with its class. */
export function pointOf(picture) {
  return { ...point(picture), ...(picture.class ? { class: picture.class } : {}) };
}

function actions(app, selected, places) {
  const { picture, model, body, state } = selected;
  const can = (what) => model.can.has(what);
  const asking = (action) => () => action().catch((error) => app.fail(error));
  // What was drawn over a picture is not what its seed alone gives.
  // Other weights draw something else from the same point.
  const hasPoint = can("walk") && !picture.provenance?.start && app.serves(model);
  return [
    { id: "keep", text: "Keep", key: "K", act: () => app.keep(selected) },
    hasPoint && { id: "branch", text: "Branch from it", key: "B", act: () => app.branch(selected) },
    hasPoint && { id: "add-to-walk", text: "Add to the walk", key: "W", act: () => app.addToWalk(selected) },
    can("start") && { id: "redo", text: "Draw on it", key: "E", act: () => app.redo(selected) },
    can("explain") && {
      id: "explain",
      text: "What drives it",
      key: "X",
      act: asking(() => explain(app, selected, places)),
    },
    can("nearest") && {
      id: "nearest",
      text: "Nearest training images",
      key: "N",
      act: asking(() => nearest(app, selected, places)),
    },
    { id: "download", text: "Download", key: "D", act: () => saveImage(picture, model) },
    { id: "link-picture", text: "Link to it", act: () => copyLink(app, state, model) },
    { id: "copy-picture", text: "Copy as…", act: () => copyAs(app, body, model) },
  ].filter(Boolean);
}

/** Show the heat of what drives the class over the picture. A second time shows the picture again. */
async function explain(app, { picture, model }, { image, more }) {
  const plain = source(picture.b64, picture.mime);
  if (image.src !== plain) {
    image.src = plain;
    more.replaceChildren();
    return;
  }
  const asked = { model: model.id, image: picture.b64, ...(picture.class ? { class: picture.class } : {}) };
  const found = await ask("/v1/explain", asked);
  app.answered();
  image.src = source(found.over, found.mime);
  const text =
    found.meaning === "class"
      ? `Warm: what speaks for class ${found.class}. The classifier gives it ${Math.round(100 * found.probability)} %.`
      : "Warm: what matters most to the features of the picture.";
  more.replaceChildren(h("p", { class: "note", id: "explained" }, text));
}

async function nearest(app, { picture, model }, { more }) {
  more.replaceChildren(h("p", { class: "note" }, "Searching the training images…"));
  more.replaceChildren(...neighbours(await ask("/v1/nearest", { model: model.id, image: picture.b64, count: 6 })));
  app.answered();
}
