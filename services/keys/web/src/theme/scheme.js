// Runs before the first paint, so that nobody who chose dark sees a white flash. It knows only the key
// under which the choice is kept; see theme.ts.
(() => {
  let choice = "auto";
  try {
    choice = localStorage.getItem("claviger.scheme") || "auto";
  } catch {
    // Storage can be switched off; then it follows the system.
  }
  const dark =
    choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
