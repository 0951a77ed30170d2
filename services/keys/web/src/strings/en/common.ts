export const common = {
  retry: "Try again",
  cancel: "Cancel",
  close: "Close",
  save: "Save",
  back: "Back",
  next: "Continue",
  loading: "Loading",
  loadMore: "Load more",
  copy: "Copy {{what}}",
  copied: "Copied",
  never: "Never",
  unknown: "Unknown",
  somebody: "Somebody who has left",
  you: "You",
  more: "More actions for {{what}}",
  platform: "Platform",
  own: "Own",
} as const;

export const confirm = {
  type: "Type {{what}} to confirm",
  name: "the name",
} as const;

export const errors = {
  requestId: "Request id",
  retryAfter_one: "Try again in {{count}} second.",
  retryAfter_other: "Try again in {{count}} seconds.",
  offline: {
    what: "Claviger cannot be reached.",
    next: "Check your connection. Your applications are not affected: routers go on by themselves.",
  },
  unavailable: {
    what: "A part of Claviger does not answer.",
    next: "Wait a moment and try again. Your applications are not affected: routers go on by themselves.",
  },
  denied: { what: "Your role does not allow this.", next: "Ask an owner of your organization." },
  notFound: { what: "This does not exist, or not any more.", next: "Go back and reload the list." },
  conflict: {
    what: "Somebody else has changed this in the meantime.",
    next: "Reload to see the change, and try again.",
  },
  signedOut: { what: "You are signed out.", next: "Sign in again." },
  unimplemented: {
    what: "This installation does not offer this yet.",
    next: "Update it, or ask whoever runs it.",
  },
  internal: {
    what: "Something went wrong inside Claviger.",
    next: "Try again. If it stays, give the request id to whoever runs this installation.",
  },
  page: "This page could not be shown",
  pageNext: "Reload the page. If that does not help, tell whoever runs this installation.",
  reload: "Reload",
} as const;

export const shell = {
  skip: "Skip to content",
  navigation: "Main",
  openMenu: "Open menu",
  closeMenu: "Close menu",
  search: "Search",
  searchHint: "Search pages and actions",
  nothingFound: "Nothing found",
  groups: {
    setUp: "Set up",
    watch: "Watch",
    people: "People",
    pages: "Pages",
    actions: "Actions",
    theme: "Theme",
  },
  pages: {
    overview: "Overview",
    firstKey: "Bring a key",
    credentials: "Credentials",
    policies: "Policies",
    apiKeys: "API keys",
    usage: "Usage",
    requests: "Requests",
    members: "Members",
    account: "Your account",
  },
  actions: {
    addMember: "Add a member",
    changePassword: "Change your password",
    signOut: "Sign out",
    newApiKey: "Create an API key",
    newPolicy: "Create a policy",
  },
  signOutFailed: "You are signed out here, but the server could not be told",
  theme: { label: "Theme", light: "Light", dark: "Dark", auto: "Like the system" },
  organizations: "Organizations",
  organization: "Organization: {{name}}",
  addOrganization: "Sign in to another organization",
  account: "Account of {{email}}",
  notFound: {
    title: "Page not found",
    body: "There is no page at this address. It may have moved, or the link is wrong.",
    action: "Go to the overview",
  },
  roles: { owner: "Owner", admin: "Admin", member: "Member", viewer: "Viewer", unknown: "No role" },
} as const;
