import { notifications } from "@mantine/notifications";
import i18next from "i18next";
import { problemOf } from "./problem";
import { problemWords } from "./words";

/** done says in a corner that something worked. */
export function done(message: string): void {
  notifications.show({ message, color: "green", withBorder: true, role: "status" });
}

/** failed says in a corner that something did not work. Where a form or panel is open, show it there. */
export function failed(title: string, error: unknown): void {
  const { what, next } = problemWords(i18next.t, problemOf(error));
  notifications.show({
    title,
    message: next ? `${what} ${next}` : what,
    color: "red",
    withBorder: true,
    autoClose: 10_000,
    role: "alert",
  });
}
