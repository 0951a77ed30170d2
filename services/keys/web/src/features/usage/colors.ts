/** colors are those of the chart, readable on light and dark. */
export const colors = {
  own: "light-dark(#2f5ab5, #6f97e8)",
  platform: "light-dark(#9b6bc9, #b58be0)",
  other: "light-dark(#a3adba, #5b6675)",
  groups: [
    "light-dark(#2f5ab5, #6f97e8)",
    "light-dark(#c9772b, #e0a05f)",
    "light-dark(#2e8b76, #56bfa6)",
    "light-dark(#9b6bc9, #b58be0)",
    "light-dark(#b8475f, #e07f93)",
    "light-dark(#7d8a2c, #b5c25a)",
  ],
} as const;
