// The latest request wins. While one drags, one request is on its way and the newest state waits for it, so that the
// pictures keep up with the hand at the model's own speed. Whatever is not a drag aborts the older request at once.

const PACE = 40; // ms between the requests of a drag: faster than anybody sees, and kind to the limit of a token

export class Latest {
  /** action(signal) does the work for the newest state; failed(error) is told of errors other than being aborted. */
  constructor(action, failed) {
    this.action = action;
    this.failed = failed;
    this.controller = null;
    this.again = false;
  }

  /** Do it for the state of now. dragging: let the request that is on its way finish first. */
  request(dragging = false) {
    if (this.controller && dragging) {
      this.again = true;
      return;
    }
    this.stop();
    this.#run();
  }

  stop() {
    this.again = false;
    this.controller?.abort();
    this.controller = null;
  }

  async #run() {
    const controller = new AbortController();
    const began = performance.now();
    this.controller = controller;
    try {
      await this.action(controller.signal);
    } catch (error) {
      if (!controller.signal.aborted) this.failed(error);
    }
    if (this.controller === controller && this.again) await pause(PACE - (performance.now() - began));
    if (this.controller !== controller) return;
    this.controller = null;
    if (this.again) {
      this.again = false;
      this.#run();
    }
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds)));

/** Do the actions, at most `width` at a time, until the signal is aborted. */
export async function inTurn(actions, width, signal) {
  const waiting = [...actions];
  const lane = async () => {
    while (waiting.length && !signal.aborted) await waiting.shift()();
  };
  await Promise.all(Array.from({ length: width }, lane));
}
