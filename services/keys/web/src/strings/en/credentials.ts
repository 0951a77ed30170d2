export const credentials = {
  title: "Credentials",
} as const;
