/** receipt is what is said of a change that every router has to hear of at once. */
export const receipt = {
  cut: "Cut answers that are being given",
  cutHint: "Without it, requests under way finish; new ones are refused at once.",
  seen: "Done",
  working: "Telling every router. This takes five seconds at most.",
  confirmed_one: "{{confirmed}} of {{count}} router confirmed in {{time}}",
  confirmed_other: "{{confirmed}} of {{count}} routers confirmed in {{time}}",
  none: "No router is connected. Each follows as soon as it is.",
  missing: "Not yet confirmed: {{names}}. A router that is connected follows as soon as it hears of it.",
  streams_one: "{{count}} answer was cut.",
  streams_other: "{{count}} answers were cut.",
  noStreams: "No answer was being given.",
  version: "Configuration {{version}}",
} as const;
