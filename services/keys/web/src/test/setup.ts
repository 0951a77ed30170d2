import { cleanup, configure } from "@testing-library/react";
import { afterEach } from "vitest";
import { startStrings } from "@/strings/i18n";

startStrings();
// Busy machines are slow; what is waited for ends the waiting as soon as it is there.
configure({ asyncUtilTimeout: 15_000 });
afterEach(cleanup);

// What jsdom lacks and Mantine asks for.
window.matchMedia ??= (query: string) =>
  ({
    matches: false,
    media: query,
    onchange: null,
    addEventListener: () => undefined,
    removeEventListener: () => undefined,
    addListener: () => undefined,
    removeListener: () => undefined,
    dispatchEvent: () => false,
  }) as MediaQueryList;
window.ResizeObserver ??= class {
  observe() {}
  unobserve() {}
  disconnect() {}
};
window.scrollTo = () => undefined;
Element.prototype.scrollIntoView ??= () => undefined;
