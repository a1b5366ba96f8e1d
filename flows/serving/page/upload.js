// A picture of the person's own: its nearest latent, and its nearest training images.

import { ask, source } from "./api.js";
import { h } from "./dom.js";
import { base64 } from "./download.js";
import { Latest } from "./live.js";
import { neighbours } from "./nearest.js";
import { commonBody } from "./request.js";

const LARGEST_BYTES = 5 * 2 ** 20; // base64 makes it a third more, and the server takes 8 MiB
const KINDS = "image/png,image/jpeg,image/webp";

export class UploadView {
  id = "upload";
  label = "Your picture";

  constructor(app) {
    this.app = app;
    this.file = h("input", {
      type: "file",
      id: "file",
      accept: KINDS,
      class: "hidden",
      onchange: () => this.#take(this.file.files[0]),
    });
    this.drop = h(
      "label",
      { class: "drop", for: "file" },
      h("strong", {}, "Choose a picture"),
      " or drop or paste one here",
    );
    this.found = h("div", { class: "found", "aria-live": "polite" });
    this.latest = new Latest(
      (signal) => this.#load(signal),
      (error) => this.#refused(error),
    );
    this.element = h(
      "div",
      { class: "upload" },
      this.file,
      this.drop,
      h("p", { class: "note" }, "The server keeps no copy. PNG, JPEG or WebP, up to 5 MB."),
      this.found,
    );
    this.element.addEventListener("dragover", (event) => event.preventDefault());
    this.element.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#take(event.dataTransfer.files[0]);
    });
    document.addEventListener(
      "paste",
      (event) =>
        this.element.isConnected && event.clipboardData.files.length && this.#take(event.clipboardData.files[0]),
    );
    this.pictures = [];
  }

  offered(model) {
    return model.can.has("latent") || model.can.has("nearest");
  }

  show(_, dragging = false) {
    if (this.image) this.latest.request(dragging);
  }

  hide() {
    this.latest.stop();
  }

  async #take(file) {
    if (!file) return;
    if (file.size > LARGEST_BYTES) {
      this.app.fail(
        new Error(
          `The picture has ${(file.size / 2 ** 20).toFixed(1)} MB; up to 5 MB are possible. Make it smaller first.`,
        ),
      );
      return;
    }
    this.file.value = ""; // so that the same file can be chosen once more
    this.mime = file.type || "image/png";
    this.image = base64(new Uint8Array(await file.arrayBuffer()));
    this.latest.request();
  }

  /** Say why nothing was found. A file that is no picture is forgotten: for another model it is none either. */
  #refused(error) {
    if ([413, 415].includes(error.status)) {
      this.image = null;
      this.found.replaceChildren();
    }
    this.app.fail(error);
  }

  async #load(signal) {
    const { app, image, mime } = this;
    const { model } = app;
    const { state } = app.store;
    const yours = figure("Your picture", source(image, mime));
    const shown = h("div", { class: "pair" }, yours);
    const near = h("div", { class: "findings" });
    this.found.replaceChildren(shown, near);
    const jobs = [];
    if (model.can.has("latent")) jobs.push(this.#encode(model, state, shown, signal));
    if (model.can.has("nearest")) {
      jobs.push(
        ask("/v1/nearest", { model: model.id, image, count: 8 }, signal).then((answer) =>
          near.replaceChildren(h("h2", {}, "Nearest training images"), ...neighbours(answer)),
        ),
      );
    }
    await Promise.all(jobs);
    app.answered();
  }

  async #encode(model, state, shown, signal) {
    const waiting = h("p", { class: "note" }, "Looking for the nearest latent…");
    shown.append(waiting);
    const body = { ...commonBody({ ...state, mix: null }, model), image: this.image };
    try {
      const answer = await ask("/v1/encode", body, signal);
      shown.append(
        figure(`Nearest the model can draw (error ${answer.error.toFixed(1)} of 255)`, source(answer.b64, answer.mime)),
        this.#actions(model, answer),
      );
    } finally {
      waiting.remove();
    }
  }

  #actions(model, answer) {
    const picture = {
      b64: answer.b64,
      mime: answer.mime,
      latent: answer.latent,
      ...(answer.class ? { class: answer.class } : {}),
    };
    const selected = { picture, model };
    const button = (id, text, act) => h("button", { type: "button", id, onclick: act }, text);
    return h(
      "div",
      { class: "actions" },
      model.can.has("walk") && button("upload-branch", "Branch from it", () => this.app.branch(selected)),
      model.can.has("walk") && button("upload-walk", "Add to the walk", () => this.app.addToWalk(selected)),
      model.can.has("start") &&
        button("upload-redo", "Draw on it", () =>
          this.app.redo({ picture: { b64: answer.prepared_b64, mime: answer.mime }, model }),
        ),
    );
  }
}

const figure = (text, address) =>
  h("figure", {}, h("img", { class: "large", src: address, alt: text }), h("figcaption", {}, text));
