export const firstKey = {
  title: "Bring your first key",
} as const;
