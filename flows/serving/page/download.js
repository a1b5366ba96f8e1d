// Files for the person: the picture as the server made it, so with its provenance inside.

/** Save one picture. The file's name says the model, the class and the seed. */
export function saveImage(picture, model) {
  const parts = [model.version ?? model.id, picture.class, picture.seed].filter(
    (part) => part !== null && part !== undefined,
  );
  const kind = (picture.mime ?? "image/png").split("/")[1];
  save(bytes(picture.b64), `${parts.map(plain).join("-")}.${kind}`, picture.mime ?? "image/png");
}

/** Return the bytes of a base64 text. */
export function bytes(b64) {
  return Uint8Array.from(atob(b64), (letter) => letter.charCodeAt(0));
}

/** Return the base64 text of bytes. */
export function base64(array) {
  let text = "";
  for (let at = 0; at < array.length; at += 0x8000) text += String.fromCharCode(...array.subarray(at, at + 0x8000));
  return btoa(text);
}

function save(content, name, mime) {
  const address = URL.createObjectURL(new Blob([content], { type: mime }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

const plain = (part) => String(part).replace(/[^\p{L}\p{N}._-]+/gu, "_");
