"use strict";

/* Dark or light: as the system says, or as the switch says. It is remembered as long as the page is open. */
{
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  atlas.isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  /** Makes `button` the switch; `changed` is called when the colours have changed. */
  atlas.themeSwitch = (button, changed) => {
    const say = () => {
      button.textContent = atlas.isDark() ? "☀" : "☾";
      button.title = atlas.isDark() ? "Light" : "Dark";
      button.setAttribute("aria-label", atlas.isDark() ? "Switch to light colors" : "Switch to dark colors");
    };
    const update = () => {
      say();
      changed();
    };
    button.addEventListener("click", () => {
      root.dataset.theme = atlas.isDark() ? "light" : "dark";
      update();
    });
    system.addEventListener("change", update);
    say();
  };
}
