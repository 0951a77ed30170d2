/** looksLikeKey says whether something can be a provider's key. What it really is, the test shows. */
export function looksLikeKey(text: string): boolean {
  return text.length >= 8 && text.length <= 8192 && !/\s/.test(text);
}

/** isUrl says whether something is a whole web address. The server checks where it leads. */
export function isUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
