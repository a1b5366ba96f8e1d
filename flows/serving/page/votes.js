// Blind votes: two pictures without names, one key per vote. The next pair is drawn while a person looks at this one.

import { ask, hooks, source } from "./api.js";
import { themeButton } from "./theme.js";

const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", s: "skip", S: "skip" };
const WHO_KEY = "genai-voter";

const find = (id) => document.getElementById(id);
const answers = [...document.querySelectorAll("[data-answer]")];
let current = null; // the pair that is shown
let next = null; // a promise of the one after it
let count = 0;

function say(text) {
  find("status").textContent = text;
}

function fail(error) {
  find("problem").textContent = error.message;
  find("problem").hidden = false;
}

function enable(on) {
  for (const button of answers) button.disabled = !on;
}

function fetchPair() {
  const pair = ask("/v1/votes/pair");
  pair.catch(() => {}); // whoever awaits it shows the error
  return pair;
}

async function show() {
  enable(false);
  const pair = await (next ?? fetchPair());
  next = null;
  for (const side of ["left", "right"]) {
    const picture = find(`${side}-picture`);
    picture.src = source(pair[side].b64, pair[side].mime);
    await picture.decode();
  }
  find("question").textContent = pair.class === null ? "Which picture is better?" : `Which is the better ${pair.class}?`;
  current = pair;
  find("problem").hidden = true;
  enable(true);
  next = fetchPair();
}

async function vote(answer) {
  if (!current) return;
  const pair = current;
  current = null;
  enable(false);
  try {
    await ask("/v1/votes", { pair: pair.pair, answer, who: find("who").value.trim() });
    count += 1;
    say(count === 1 ? "1 vote" : `${count} votes`);
  } catch (error) {
    if (error.code !== "pair_closed") {
      current = pair;
      enable(true);
      return fail(error);
    }
  }
  return proceed();
}

async function proceed() {
  try {
    await show();
  } catch (error) {
    next = null;
    fail(error);
  }
}

function askForToken(message) {
  fail({ message });
  find("token-form").hidden = false;
  find("token").focus();
  return new Promise((resolve) => {
    find("token-form").addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        find("token-form").hidden = true;
        find("problem").hidden = true;
        resolve(find("token").value.trim());
      },
      { once: true },
    );
  });
}

themeButton(find("theme"));
hooks.unauthorized = askForToken;
hooks.waiting = (seconds) => say(`The server is busy; trying again in ${seconds} s`);
find("who").value = localStorage.getItem(WHO_KEY) ?? "";
find("who").addEventListener("change", () => localStorage.setItem(WHO_KEY, find("who").value.trim()));
for (const button of answers) button.addEventListener("click", () => vote(button.dataset.answer));
document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement;
  if (typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  vote(KEYS[event.key]);
});
proceed();
