// The server's API: JSON in, JSON out, its errors as ApiError, and streamed previews.

const TOKEN_KEY = "genai-token"; // in the tab's session storage: gone when the tab is closed
const MOST_TOKENS = 5; // that are asked for
const PATIENCE = 120_000; // ms for which a full queue is waited for

export class ApiError extends Error {
  constructor(status, error, retryAfter) {
    super(error.message);
    this.status = status;
    this.param = error.param;
    this.code = error.code;
    this.retryAfter = retryAfter ?? null; // seconds
  }
}

export function setToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
}

/** Hooks that the page sets: `unauthorized` returns a promise of a new token, `waiting` tells of a full queue. */
export const hooks = { unauthorized: null, waiting: () => {} };

/** Return the JSON of a GET (no body) or a POST. Waits and tries again where the server says when (Retry-After). */
export async function ask(path, body, signal) {
  const response = await send(path, body, signal);
  return response.json();
}

/**
 * POST /v1/draw with previews. `on.preview(index, source)` and `on.image(index, image)` are called as they come.
 * Returns what the request without `stream` returns.
 */
export async function drawStreamed(body, on, signal) {
  const response = await send("/v1/draw", { ...body, stream: true }, signal);
  const images = [];
  for await (const { event, data } of events(response.body)) {
    if (event === "preview") on.preview(data.index, source(data.b64, data.mime));
    else if (event === "image") {
      images[data.index] = data;
      on.image?.(data.index, data);
    } else if (event === "done") return { ...data, images: data.images ?? images };
    else if (event === "error") throw new ApiError(data.status ?? 500, data.error ?? data);
  }
  throw new ApiError(503, { message: "The connection ended before the pictures were complete. Try again." });
}

/** Return an address for <img> of a base64 picture. */
export const source = (b64, mime = "image/png") => `data:${mime};base64,${b64}`;

async function send(path, body, signal) {
  const until = performance.now() + PATIENCE;
  for (let attempt = 0; ; attempt += 1) {
    const response = await reach(path, body, signal);
    if (response.ok) return response;
    const error = await faultOf(response);
    if (response.status === 401 && hooks.unauthorized && attempt < MOST_TOKENS) {
      setToken(await hooks.unauthorized(error.message));
    } else if (error.retryAfter !== null && performance.now() < until) {
      const seconds = Math.min(30, error.retryAfter);
      hooks.waiting(seconds);
      await pause(seconds * 1000, signal);
    } else throw error;
  }
}

async function reach(path, body, signal) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = { accept: "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  try {
    return await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { message: "The server does not answer. Is `genai serve` still running?" });
  }
}

async function faultOf(response) {
  const after = Number(response.headers.get("retry-after")) || null;
  try {
    return new ApiError(response.status, (await response.json()).error, after);
  } catch {
    return new ApiError(response.status, { message: `The server answered ${response.status}.` }, after);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** Yield the server-sent events of a response's body. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split(/\r?\n/);
      const field = (name) =>
        lines.filter((line) => line.startsWith(name)).map((line) => line.slice(name.length).trimStart());
      const data = field("data:").join("\n");
      if (data) yield { event: field("event:")[0] ?? "message", data: JSON.parse(data) };
    }
  }
}
