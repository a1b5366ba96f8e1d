// The nearest training images of a picture, and whether it is nearly a copy of one.

import { source } from "./api.js";
import { h } from "./dom.js";

/** Return the elements that show what POST /v1/nearest found. */
export function neighbours({ images, copy, threshold, training_images: searched }) {
  const verdict = copy
    ? "Nearly a copy: nearer to a training image than held-out images usually are."
    : "No copy: no nearer to the training images than held-out images usually are.";
  const limit = typeof threshold === "number" ? ` Below ${threshold.toFixed(2)} it would be nearly a copy.` : "";
  return [
    h(
      "p",
      { class: copy ? "verdict warn" : "verdict" },
      verdict,
      copy ? "" : limit,
      ` ${searched} training images were searched.`,
    ),
    h(
      "ul",
      { class: "tray neighbours", "aria-label": "Nearest training images" },
      images.map((image) =>
        h(
          "li",
          {},
          h("img", { src: source(image.b64, image.mime), alt: `Training image ${image.file}`, title: image.file }),
          h(
            "span",
            {},
            image.identical ? "equal" : image.distance.toFixed(2),
            image.class !== null && ` · ${image.class}`,
          ),
        ),
      ),
    ),
  ];
}
