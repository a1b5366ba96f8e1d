// A picture to paint on, in the model's own pixels, with a mask of what the model is to redraw.

import { h } from "./dom.js";

const MOST_UNDO = 50;

export class PaintCanvas {
  /** changed() is called when a stroke has ended. */
  constructor(changed) {
    this.changed = changed;
    this.tool = "paint"; // paint, mask, unmask
    this.colour = "#ffffff";
    this.size = 2; // pixels of the model
    this.before = [];
    this.picture = h("canvas", { class: "layer" });
    this.mask = h("canvas", {
      class: "layer mask",
      role: "img",
      tabindex: 0,
      "aria-label": "Picture to draw on. Arrow keys move the brush, Space paints.",
    });
    this.cursor = h("div", { class: "brush", "aria-hidden": "true" });
    this.element = h("div", { class: "paint frame" }, this.picture, this.mask, this.cursor);
    this.at = [0, 0];
    this.mask.addEventListener("pointerdown", (event) => this.#down(event));
    this.mask.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) this.mask.addEventListener(end, () => this.#up());
    this.mask.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Begin with this picture (an address); resolves when it is there. [height, width] of the model. */
  async load(address, [height, width]) {
    const image = new Image();
    image.src = address;
    await image.decode();
    const same = this.picture.width === width && this.picture.height === height;
    for (const canvas of [this.picture, this.mask]) if (!same) Object.assign(canvas, { width, height });
    this.element.style.setProperty("aspect-ratio", `${width} / ${height}`);
    this.before = [];
    const context = this.picture.getContext("2d", { willReadFrequently: true });
    this.mask.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    const side = Math.min(image.width / width, image.height / height);
    context.drawImage(
      image,
      (image.width - side * width) / 2,
      (image.height - side * height) / 2,
      side * width,
      side * height,
      0,
      0,
      width,
      height,
    );
    this.mask.getContext("2d").clearRect(0, 0, width, height);
    this.original = context.getImageData(0, 0, width, height);
    this.#place([width / 2, height / 2]);
  }

  /** Return the picture as base64 PNG. */
  get start() {
    return this.picture.toDataURL("image/png").split(",")[1];
  }

  /** Return the mask as base64 PNG, white where the model draws anew; null if nothing is masked. */
  get masked() {
    const { width, height } = this.mask;
    const data = this.mask.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height);
    let any = false;
    for (let at = 0; at < data.data.length; at += 4) {
      const on = data.data[at + 3] > 127;
      any ||= on;
      data.data.set([on ? 255 : 0, on ? 255 : 0, on ? 255 : 0, 255], at);
    }
    if (!any) return null;
    const canvas = h("canvas", { width, height });
    canvas.getContext("2d").putImageData(data, 0, 0);
    return canvas.toDataURL("image/png").split(",")[1];
  }

  undo() {
    const last = this.before.pop();
    if (!last) return;
    this.picture.getContext("2d").putImageData(last.picture, 0, 0);
    this.mask.getContext("2d").putImageData(last.mask, 0, 0);
    this.changed();
  }

  /** Back to the picture that it began with. */
  clear() {
    this.#remember();
    this.picture.getContext("2d").putImageData(this.original, 0, 0);
    this.mask.getContext("2d").clearRect(0, 0, this.mask.width, this.mask.height);
    this.changed();
  }

  #remember() {
    const { width, height } = this.picture;
    const of = (canvas) => canvas.getContext("2d").getImageData(0, 0, width, height);
    this.before.push({ picture: of(this.picture), mask: of(this.mask) });
    if (this.before.length > MOST_UNDO) this.before.shift();
  }

  #down(event) {
    this.mask.setPointerCapture(event.pointerId);
    this.#remember();
    this.painting = true;
    this.#place(this.#pixel(event));
    this.#dab(...this.at);
  }

  #move(event) {
    const to = this.#pixel(event);
    if (this.painting) this.#line(this.at, to);
    this.#place(to);
  }

  #up() {
    if (!this.painting) return;
    this.painting = false;
    this.changed();
  }

  #key(event) {
    const [x, y] = this.at;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in steps) {
      const [dx, dy] = steps[event.key];
      this.#place([
        Math.min(this.mask.width - 0.5, Math.max(0.5, x + dx)),
        Math.min(this.mask.height - 0.5, Math.max(0.5, y + dy)),
      ]);
    } else if (event.key === " ") {
      this.#remember();
      this.#dab(...this.at);
      this.changed();
    } else return;
    event.preventDefault();
  }

  #pixel(event) {
    const box = this.mask.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.mask.width,
      ((event.clientY - box.top) / box.height) * this.mask.height,
    ];
  }

  #place(at) {
    this.at = at;
    const share = (value, whole) => `${(100 * value) / whole}%`;
    this.cursor.style.left = share(at[0], this.mask.width);
    this.cursor.style.top = share(at[1], this.mask.height);
    this.cursor.style.width = share(this.size, this.mask.width);
  }

  #line(from, to) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * 2));
    for (let step = 1; step <= steps; step += 1)
      this.#dab(from[0] + ((to[0] - from[0]) * step) / steps, from[1] + ((to[1] - from[1]) * step) / steps);
  }

  /** Fill the whole pixels under a round brush: no half-transparent edges, which a mask must not have. */
  #dab(x, y) {
    const context = (this.tool === "paint" ? this.picture : this.mask).getContext("2d");
    context.fillStyle = this.tool === "paint" ? this.colour : "#ff2d6f";
    const radius = this.size / 2;
    for (let row = Math.floor(y - radius); row <= y + radius; row += 1) {
      for (let column = Math.floor(x - radius); column <= x + radius; column += 1) {
        const inside = Math.hypot(column + 0.5 - x, row + 0.5 - y) <= Math.max(radius, 0.71);
        if (inside && this.tool === "unmask") context.clearRect(column, row, 1, 1);
        else if (inside) context.fillRect(column, row, 1, 1);
      }
    }
  }
}
