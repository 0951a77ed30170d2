export const account = {
  title: "Your account",
  signIn: {
    title: "Sign in",
    organization: "Organization",
    organizationHint: "Its short name, such as acme",
    email: "Email",
    password: "Password",
    submit: "Sign in",
    failed: "You could not be signed in",
    expired: "Your session has ended. Sign in to go on where you were.",
    signedOut: "You are signed out.",
    known: "Sign in to",
    other: "Another organization",
  },
} as const;
