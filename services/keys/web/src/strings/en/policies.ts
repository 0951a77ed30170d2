export const policies = {
  title: "Policies",
} as const;
