// Versions that are promoted while the page is open: looked for now and then, and taken over between drags.

import { settled } from "./dom.js";
import { loadModels } from "./models.js";

const CALM = 700; // ms without a change: then a drag is over
const REFRESH = 30_000; // ms between looks

export class Versions {
  /** takeOver(models) shows newly loaded models. */
  constructor(takeOver) {
    this.waiting = null; // models that wait for the end of a drag, which they would end
    this.dragging = false;
    this.takeOver = () => {
      const models = this.waiting;
      this.waiting = null;
      if (models) takeOver(models);
    };
    this.takeOverLater = settled(this.takeOver, CALM);
  }

  start() {
    setInterval(() => this.look(), REFRESH);
  }

  /** The state has changed, or is changing under a hand. */
  changed(dragging) {
    this.dragging = dragging;
    if (this.waiting) dragging ? this.takeOverLater() : this.takeOver();
  }

  /** Look unless pictures come from known weights: what the server drew says with which. */
  drawn(images, models) {
    const known = ({ model, model_sha256: weights }) => models.get(model)?.sha256 === weights;
    if (!this.waiting && images.some(({ provenance }) => provenance && !known(provenance))) this.look();
  }

  /** Look for new versions, once at a time: each answer may ask for it. */
  look() {
    this.looking ??= this.#look().finally(() => (this.looking = null));
  }

  async #look() {
    try {
      this.waiting = await loadModels();
    } catch {
      return; // the next request says what is wrong
    }
    this.changed(this.dragging);
  }
}
