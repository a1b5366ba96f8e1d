// Dark, light, or as the system says. The choice stays in this browser.

const KEY = "genai-theme";
const THEMES = ["system", "light", "dark"];
const SIGNS = { system: "◐", light: "☀", dark: "☾" };

/** Make `button` go through the themes. */
export function themeButton(button) {
  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = SIGNS[theme];
    button.setAttribute("aria-label", `Theme: ${theme}`);
    button.title = `Theme: ${theme}`;
  };
  const saved = localStorage.getItem(KEY);
  apply(THEMES.includes(saved) ? saved : "system");
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    localStorage.setItem(KEY, next);
    apply(next);
  });
}
