// What a person can run elsewhere to get the same pictures: the command line, curl, Python.

/** Return {text} of a command line that draws the same, or {why} not. body: of POST /v1/draw; model: its model. */
export function commandLine(body, model) {
  const beyond = ["mix", "walk", "latent", "base", "directions", "start", "mask"].filter((name) => body[name]);
  if (beyond.length) return { why: `\`genai generate\` has no ${beyond.join(", ")}. Use curl or Python.` };
  if (body.seeds) return { why: "`genai generate` takes consecutive seeds. Use curl or Python." };
  if (body.class?.includes(",")) return { why: "On the command line, a comma separates classes. Use curl or Python." };
  if (!model.named) return { why: "Only its path names this model on the command line. Use curl or Python." };
  const words = ["genai", "generate", "--model", body.model, "--count", body.count, "--seed", body.seed];
  if (body.class) words.push("--classes", body.class);
  for (const [name, value] of Object.entries(body.sampling ?? {}))
    words.push("--set", `${name}=${JSON.stringify(value)}`);
  words.push("--out", "pictures");
  return { text: words.map(quoted).join(" ") };
}

/** Return a curl command. origin: scheme, host and port of the server. */
export function curl(body, origin) {
  return [
    `curl -sS ${quoted(`${origin}/v1/draw`)}`,
    "-H 'content-type: application/json'",
    ...(secured() ? ['-H "authorization: Bearer $GENAI_TOKEN"'] : []),
    `-d ${quoted(JSON.stringify(body))}`,
  ].join(" \\\n  ");
}

/** Return a Python program that needs nothing but Python, and writes the pictures as files. */
export function python(body, origin) {
  const access = secured() ? '\nrequest.add_header("authorization", "Bearer " + os.environ["GENAI_TOKEN"])' : "";
  const headers = `request.add_header("content-type", "application/json")${access}`;
  return `import base64, json, urllib.request${secured() ? ", os" : ""}

body = ${literal(body)}
request = urllib.request.Request(${literal(`${origin}/v1/draw`)}, json.dumps(body).encode())
${headers}
for index, image in enumerate(json.load(urllib.request.urlopen(request))["images"]):
    with open(f"{index:03d}.png", "wb") as file:
        file.write(base64.b64decode(image["b64"]))
`;
}

const WORDS = new Map([
  [null, "None"],
  [true, "True"],
  [false, "False"],
]);

const secured = () => Boolean(sessionStorage.getItem("genai-token"));

/** Return a word as a POSIX shell reads it back. */
function quoted(word) {
  const text = String(word);
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Return a JSON value as a Python literal: JSON's texts and numbers are Python's too. */
function literal(value) {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (value && typeof value === "object")
    return `{${Object.entries(value)
      .map(([name, part]) => `${JSON.stringify(name)}: ${literal(part)}`)
      .join(", ")}}`;
  return WORDS.get(value) ?? JSON.stringify(value);
}
