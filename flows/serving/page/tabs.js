// The tabs above the pictures: one for each view that the model can fill.

import { byId, h } from "./dom.js";

/** Show a tab for each of `views`, with `chosen` selected; choose(view) is called when another one is. */
export function showTabs(views, chosen, choose) {
  const list = byId("tabs");
  const hadFocus = list.contains(document.activeElement);
  const next = (event, view) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    choose(views[(views.indexOf(view) + step + views.length) % views.length]);
  };
  const tab = (view) => {
    const states = { "aria-selected": String(view === chosen), tabindex: view === chosen ? 0 : -1 };
    const listeners = { onclick: () => choose(view), onkeydown: (event) => next(event, view) };
    const names = { role: "tab", id: `tab-${view.id}`, "aria-controls": "view" };
    return h("button", { type: "button", ...names, ...states, ...listeners }, view.label);
  };
  list.replaceChildren(...views.map(tab));
  byId("view").setAttribute("aria-labelledby", `tab-${chosen.id}`);
  if (hadFocus) byId(`tab-${chosen.id}`).focus();
  byId(`tab-${chosen.id}`).scrollIntoView({ block: "nearest", inline: "nearest" });
}
