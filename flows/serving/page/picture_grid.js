// A grid of pictures that is redrawn in place: its buttons stay, their pictures change. One Tab stop, arrow keys inside.

import { source } from "./api.js";
import { h } from "./dom.js";

export class PictureGrid {
  /** label: for screen readers. chosen(index) is called when a picture is pressed. columns: null: about a square. */
  constructor(label, chosen, columns = null) {
    this.element = h("div", { class: "grid", role: "group", "aria-label": label });
    this.columns = columns;
    this.chosen = chosen;
    this.pictures = []; // what the server returned, in order
    this.element.addEventListener("keydown", (event) => this.#move(event));
  }

  get cells() {
    return [...this.element.children];
  }

  /** Make room for `count` pictures of this [height, width]. */
  shape(count, [height, width], columns = this.columns) {
    this.width = columns ?? Math.ceil(Math.sqrt((count * height) / width));
    this.element.style.setProperty("--columns", this.width);
    this.element.style.setProperty("--ratio", `${width} / ${height}`);
    while (this.element.children.length > count) this.element.lastChild.remove();
    while (this.element.children.length < count) this.element.append(this.#cell(this.element.children.length));
    if (!this.cells.some((cell) => cell.tabIndex === 0) && count) this.cells[0].tabIndex = 0;
    this.element.classList.toggle("dense", count > 25);
  }

  /** Show the pictures that the server returned. */
  show(pictures, name = describe) {
    this.pictures = pictures;
    pictures.forEach((picture, index) => this.put(index, picture, name));
    this.idle();
  }

  put(index, picture, name = describe) {
    this.pictures[index] = picture;
    const cell = this.cells[index];
    if (!cell) return;
    cell.firstChild.src = source(picture.b64, picture.mime);
    cell.classList.remove("preview");
    cell.setAttribute("aria-label", name(picture, index));
    cell.title = name(picture, index);
  }

  preview(index, address) {
    const cell = this.cells[index];
    if (!cell) return;
    cell.firstChild.src = address;
    cell.classList.add("preview");
  }

  busy() {
    this.element.setAttribute("aria-busy", "true");
  }

  idle() {
    this.element.setAttribute("aria-busy", "false");
  }

  /** Mark the picture at `index`; -1: none. */
  mark(index) {
    this.cells.forEach((cell, at) => cell.setAttribute("aria-pressed", String(at === index)));
  }

  #cell(index) {
    const image = h("img", { alt: "", draggable: "false", src: EMPTY });
    return h(
      "button",
      {
        type: "button",
        class: "cell",
        tabindex: -1,
        "aria-pressed": "false",
        "aria-label": "not drawn yet",
        onclick: (event) => this.#press(event.currentTarget, index),
      },
      image,
    );
  }

  #press(cell, index) {
    this.#stop(cell);
    if (this.pictures[index]) this.chosen(index);
  }

  #stop(cell) {
    for (const other of this.cells) other.tabIndex = other === cell ? 0 : -1;
  }

  #move(event) {
    const at = this.cells.indexOf(document.activeElement);
    const steps = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -this.width,
      ArrowDown: this.width,
      Home: -at,
      End: this.cells.length - 1 - at,
    };
    if (at < 0 || !(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = this.cells[at + steps[event.key]];
    if (!next) return;
    this.#stop(next);
    next.focus();
  }
}

const EMPTY = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"; // one transparent pixel

/** Return "class 3, seed 17", or where else the picture comes from. */
export function describe({ class: name, seed, provenance }) {
  const kind = typeof name === "string" ? `class ${name}` : provenance?.mix && "mix of classes";
  const noise = typeof seed === "number" ? `seed ${seed}` : provenance?.walk ? "on a walk" : "from a latent";
  return [kind, noise].filter(Boolean).join(", ");
}
